// Text files to an indexed set: reads documents, encodes them on several threads, writes them in the order they were read.
// The tokenizers themselves: core/tokenizer; the format of the output: indexed_dataset.h.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/data/document_reader.h"
#include "core/tokenizer/tokenizer.h"

namespace nemo {

struct TokenizeRequest {
  std::vector<std::filesystem::path> inputs{};  // .jsonl and .json: one object a line; all else: plain text
  std::filesystem::path output;               // prefix of .bin and .idx
  std::string json_key = "text";
  DocumentsBy documents_by = DocumentsBy::file;
  bool append_end_of_document = false;
  bool skip_bad = false;  // leave bad lines out, instead of stopping at the first
  int64_t num_workers = 1;
};

struct TokenizeProgress {
  int64_t num_documents = 0, num_tokens = 0;
  int64_t num_empty = 0, num_bad = 0;  // left out: without tokens, or not readable
  int64_t bytes_read = 0, total_bytes = 0;
};

struct TokenizeObserver {
  std::function<void(const TokenizeProgress&)> progress;          // after every few documents written; may be empty
  std::function<void(const std::string& message)> skipped_bad;  // each bad line left out, "file:line: ..."; may be empty
};

// The files written depend on the request and the tokenizer alone, not on num_workers. Throws DataError: an input that cannot
// be read, a bad line (place "file:line"), a tokenizer without an end of document, no document at all, a full disk.
TokenizeProgress tokenize_files(const TokenizeRequest& request, const Tokenizer& tokenizer, const TokenizeObserver& observer);

}  // namespace nemo
