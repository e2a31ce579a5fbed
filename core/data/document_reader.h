// The documents of text files, one after the other, as the bytes that stand there. Understanding them (JSON, tokens):
// tokenize_files.h.
#pragma once
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

namespace nemo {

enum class DocumentsBy { file, blank_line };  // where documents of plain text end

struct RawDocument {
  std::string text;   // of plain text; or a line of JSON
  bool is_json = false;
  size_t file = 0;    // index into the inputs
  int64_t line = 0;   // where it begins, from 1
};

class DocumentReader {
 public:
  // .jsonl and .json: one object a line; all else: plain text. Throws DataError for an input that is not a readable file, or
  // is of a compressed kind.
  DocumentReader(std::vector<std::filesystem::path> inputs, DocumentsBy documents_by);

  std::optional<RawDocument> next();  // none at the end. Throws DataError when reading fails, or a document is over 1 GiB.

  const std::filesystem::path& file_name(size_t file) const { return inputs_[file]; }
  int64_t bytes_read() const { return bytes_read_; }
  int64_t total_bytes() const { return total_bytes_; }

 private:
  bool read_line(std::string& line);  // without its end; false at the end of the file
  std::optional<RawDocument> next_in_file();

  std::vector<std::filesystem::path> inputs_;
  DocumentsBy documents_by_;
  size_t file_ = 0;
  std::ifstream in_;
  int64_t line_ = 0, bytes_read_ = 0, total_bytes_ = 0;
};

}  // namespace nemo
