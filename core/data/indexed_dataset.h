// Indexed token data, PREFIX.idx and PREFIX.bin: the Megatron-LM format (upstream: megatron/core/datasets/indexed_dataset.py).
// Reading and writing only; which tokens make up a training sample is said in gpt_dataset.h.
#pragma once
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "core/data/file_bytes.h"

namespace nemo {

// The .idx codes of the integer types that hold token ids.
enum class TokenType : uint8_t { u8 = 1, i8 = 2, i16 = 3, i32 = 4, i64 = 5, u16 = 8 };

size_t token_type_bytes(TokenType);
const char* token_type_name(TokenType);

// u16 for vocabularies under 65500, else i32.
TokenType token_type_for(int64_t vocab_size);

// A sequence is a run of tokens in .bin; a document is one or more sequences. Both files stay mapped while this lives.
class IndexedDataset {
 public:
  // Checks every field against the sizes of the two files; throws DataError naming the file and what is wrong.
  explicit IndexedDataset(const std::filesystem::path& prefix);

  const std::filesystem::path& prefix() const { return prefix_; }
  TokenType token_type() const { return type_; }
  int64_t num_sequences() const { return static_cast<int64_t>(lengths_.size()); }
  int64_t num_documents() const { return num_documents_; }
  int64_t num_tokens() const { return num_tokens_; }
  std::span<const int32_t> lengths() const { return lengths_; }  // tokens of each sequence

  // tokens = sequence[offset, offset + tokens.size()), which must lie inside it. i64 ids are clamped to [-1, 2^31).
  void read(int64_t sequence, int64_t offset, std::span<int32_t> tokens) const;

  // The largest id of the whole set: one pass over .bin. -1 where there are no tokens.
  int64_t max_token_id() const;

 private:
  std::filesystem::path prefix_;
  MappedFile index_, tokens_;
  TokenType type_ = TokenType::u16;
  int64_t num_documents_ = 0, num_tokens_ = 0;
  std::vector<int32_t> lengths_;   // copied: the file aligns nothing
  std::vector<int64_t> offsets_;   // bytes into .bin
};

// Writes PREFIX.bin as it goes and PREFIX.idx at finish(). Not finished: both go away again.
class IndexedDatasetWriter {
 public:
  // Makes the folder. The vocabulary decides the token type. Throws DataError when the files cannot be written.
  IndexedDatasetWriter(const std::filesystem::path& prefix, int64_t vocab_size);
  IndexedDatasetWriter(const IndexedDatasetWriter&) = delete;
  ~IndexedDatasetWriter();

  void add_document(std::span<const int32_t> tokens);  // throws DataError for an id that the type cannot hold
  void finish();                                       // throws DataError when the disk is full

  int64_t num_documents() const { return static_cast<int64_t>(lengths_.size()); }
  int64_t num_tokens() const { return num_tokens_; }

 private:
  std::filesystem::path prefix_;
  TokenType type_;
  std::ofstream bin_;
  std::vector<int32_t> lengths_;
  std::vector<char> buffer_;
  int64_t num_tokens_ = 0;
  bool finished_ = false;
};

// Throws DataError when the data holds ids that a model of this vocabulary does not have.
void check_vocabulary(const IndexedDataset& data, int64_t vocab_size);

}  // namespace nemo
