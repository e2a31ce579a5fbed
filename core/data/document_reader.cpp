#include "core/data/document_reader.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "core/data/file_bytes.h"
#include "core/error.h"

namespace nemo {
namespace {

constexpr uint64_t kMaxDocumentBytes = uint64_t{1} << 30;
constexpr std::array<std::string_view, 7> kUnreadable = {".gz", ".zst", ".bz2", ".xz", ".zip", ".parquet", ".arrow"};

bool is_json_lines(const std::filesystem::path& path) { return path.extension() == ".jsonl" || path.extension() == ".json"; }

bool is_blank(std::string_view line) { return line.find_first_not_of(" \t\r") == std::string_view::npos; }

}  // namespace

DocumentReader::DocumentReader(std::vector<std::filesystem::path> inputs, DocumentsBy documents_by)
    : inputs_(std::move(inputs)), documents_by_(documents_by) {
  for (const auto& input : inputs_) {
    std::error_code failed;
    if (!std::filesystem::exists(input, failed)) throw DataError{input.string(), "", "no such file"};
    if (!std::filesystem::is_regular_file(input, failed)) throw DataError{input.string(), "", "not a file", "the files in it, one by one"};
    if (std::find(kUnreadable.begin(), kUnreadable.end(), input.extension().string()) != kUnreadable.end()) {
      throw DataError{input.string(), "", input.extension().string() + " files cannot be read", "plain text or JSONL"};
    }
    total_bytes_ += static_cast<int64_t>(std::filesystem::file_size(input, failed));
  }
}

std::optional<RawDocument> DocumentReader::next() {
  for (; file_ < inputs_.size(); ++file_) {
    const bool whole = documents_by_ == DocumentsBy::file && !is_json_lines(inputs_[file_]);
    if (whole) {
      RawDocument document{read_file_bytes(inputs_[file_], "--documents-by blank-line", kMaxDocumentBytes), false, file_, 1};
      bytes_read_ += static_cast<int64_t>(document.text.size());
      ++file_;
      return document;
    }
    if (!in_.is_open()) {
      in_.open(inputs_[file_], std::ios::binary);
      line_ = 0;
      if (!in_) throw DataError{inputs_[file_].string(), "", "cannot be read"};
    }
    if (std::optional<RawDocument> document = next_in_file()) return document;
    if (in_.bad()) throw DataError{inputs_[file_].string(), "", "cannot be read further"};
    in_.close();
    in_.clear();
  }
  return std::nullopt;
}

std::optional<RawDocument> DocumentReader::next_in_file() {
  RawDocument document{{}, is_json_lines(inputs_[file_]), file_, 0};
  std::string line;
  while (read_line(line)) {
    const bool blank = is_blank(line);
    if (document.line == 0 && blank) continue;
    if (document.is_json) return RawDocument{std::move(line), true, file_, line_};
    if (blank) return document;
    if (document.line == 0) document.line = line_;
    document.text += line;
    document.text += '\n';
    if (document.text.size() > kMaxDocumentBytes) break;
  }
  if (document.text.size() > kMaxDocumentBytes) {
    throw DataError{inputs_[file_].string() + ":" + std::to_string(document.line), "", "a document of over 1 GiB"};
  }
  if (document.line == 0) return std::nullopt;
  return document;
}

bool DocumentReader::read_line(std::string& line) {
  line.clear();
  char piece[1 << 14];
  while (in_.getline(piece, sizeof(piece)) || in_.gcount() > 0) {
    bytes_read_ += in_.gcount();
    const bool cut = in_.fail() && !in_.eof(), has_end = !in_.fail() && !in_.eof();  // cut: the buffer was full before the end
    line.append(piece, static_cast<size_t>(in_.gcount()) - (has_end ? 1 : 0));
    if (line.size() > kMaxDocumentBytes) {
      throw DataError{inputs_[file_].string() + ":" + std::to_string(line_ + 1), "", "a line of over 1 GiB"};
    }
    if (cut) {
      in_.clear();
      continue;
    }
    break;
  }
  if (line.empty() && in_.gcount() == 0) return false;
  ++line_;
  if (line.ends_with('\r')) line.pop_back();
  return true;
}

}  // namespace nemo
