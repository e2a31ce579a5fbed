#include "core/data/indexed_dataset.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/error.h"

namespace nemo {
namespace {

constexpr char kMagic[9] = {'M', 'M', 'I', 'D', 'I', 'D', 'X', '\0', '\0'};

std::filesystem::path with_suffix(std::filesystem::path prefix, const char* suffix) { return prefix += suffix; }

// Reads little-endian fields one after the other, never past the end.
class FieldReader {
 public:
  FieldReader(std::span<const std::byte> bytes, std::string file) : bytes_(bytes), file_(std::move(file)) {}

  template <class T>
  T scalar(const char* what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what), sizeof(T));
    return value;
  }

  template <class T>
  std::vector<T> array(uint64_t count, const char* what) {
    if (count > bytes_.size() / sizeof(T)) throw cut_short(what);
    const std::byte* from = take(count * sizeof(T), what);
    std::vector<T> values(count);
    if (count > 0) std::memcpy(values.data(), from, count * sizeof(T));
    return values;
  }

  size_t remaining() const { return bytes_.size() - at_; }
  DataError error(const std::string& what) const { return DataError{file_, "", what}; }

 private:
  const std::byte* take(size_t count, const char* what) {
    if (count > remaining()) throw cut_short(what);
    at_ += count;
    return bytes_.data() + at_ - count;
  }
  DataError cut_short(const char* what) const {
    return error("the file ends inside its " + std::string(what) + " (it has " + std::to_string(bytes_.size()) + " bytes)");
  }

  std::span<const std::byte> bytes_;
  std::string file_;
  size_t at_ = 0;
};

template <class T>
void widen(const std::byte* from, std::span<int32_t> tokens) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    T value;
    std::memcpy(&value, from + i * sizeof(T), sizeof(T));
    if constexpr (sizeof(T) > sizeof(int32_t)) value = std::clamp<T>(value, -1, std::numeric_limits<int32_t>::max());
    tokens[i] = static_cast<int32_t>(value);
  }
}

template <class T>
int64_t max_of(std::span<const std::byte> bytes) {
  int64_t largest = -1;
  for (size_t at = 0; at + sizeof(T) <= bytes.size(); at += sizeof(T)) {
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof(T));
    largest = std::max(largest, static_cast<int64_t>(value));
  }
  return largest;
}

}  // namespace

size_t token_type_bytes(TokenType type) {
  switch (type) {
    case TokenType::u8:
    case TokenType::i8: return 1;
    case TokenType::i16:
    case TokenType::u16: return 2;
    case TokenType::i32: return 4;
    case TokenType::i64: return 8;
  }
  return 0;
}

const char* token_type_name(TokenType type) {
  switch (type) {
    case TokenType::u8: return "u8";
    case TokenType::i8: return "i8";
    case TokenType::i16: return "i16";
    case TokenType::u16: return "u16";
    case TokenType::i32: return "i32";
    case TokenType::i64: return "i64";
  }
  return "";
}

TokenType token_type_for(int64_t vocab_size) { return vocab_size < 65500 ? TokenType::u16 : TokenType::i32; }

IndexedDataset::IndexedDataset(const std::filesystem::path& prefix)
    : prefix_(prefix), index_(map_data_file(with_suffix(prefix, ".idx"))), tokens_(map_data_file(with_suffix(prefix, ".bin"))) {
  FieldReader index(index_.bytes(), with_suffix(prefix, ".idx").string());
  const std::vector<char> magic = index.array<char>(sizeof(kMagic), "header");
  if (!std::equal(magic.begin(), magic.end(), kMagic)) throw index.error("not an index of token data: it does not begin with MMIDIDX");
  const uint64_t version = index.scalar<uint64_t>("version");
  if (version != 1) throw index.error("version " + std::to_string(version) + " where only 1 is known");
  const uint8_t type = index.scalar<uint8_t>("token type");
  if (type == 6 || type == 7) throw index.error("token type " + std::to_string(type) + " is floating point, not token ids");
  type_ = static_cast<TokenType>(type);
  const size_t width = token_type_bytes(type_);
  if (width == 0) throw index.error("unknown token type " + std::to_string(type));

  const uint64_t num_sequences = index.scalar<uint64_t>("number of sequences");
  const uint64_t num_boundaries = index.scalar<uint64_t>("number of documents");
  lengths_ = index.array<int32_t>(num_sequences, "sequence lengths");
  offsets_ = index.array<int64_t>(num_sequences, "sequence offsets");
  const std::vector<int64_t> boundaries = index.array<int64_t>(num_boundaries, "document boundaries");
  if (index.remaining() != 0 && index.remaining() != num_sequences) {  // one mode byte a sequence may follow
    throw index.error(std::to_string(index.remaining()) + " bytes follow the document boundaries");
  }

  const uint64_t bin_bytes = tokens_.bytes().size();
  for (uint64_t i = 0; i < num_sequences; ++i) {
    const std::string which = "sequence " + std::to_string(i);
    if (lengths_[i] < 0) throw index.error(which + " has length " + std::to_string(lengths_[i]));
    if (offsets_[i] < 0 || offsets_[i] % static_cast<int64_t>(width) != 0) {
      throw index.error(which + " begins at byte " + std::to_string(offsets_[i]) + ", which is no token's place");
    }
    const uint64_t begin = static_cast<uint64_t>(offsets_[i]), size = static_cast<uint64_t>(lengths_[i]) * width;
    if (begin > bin_bytes || size > bin_bytes - begin) {
      throw DataError{with_suffix(prefix, ".bin").string(), "", "cut short: " + which + " needs bytes " + std::to_string(begin) +
                      " to " + std::to_string(begin + size) + ", the file has " + std::to_string(bin_bytes)};
    }
    num_tokens_ += lengths_[i];
  }
  if (boundaries.empty() || boundaries.front() != 0 || boundaries.back() != static_cast<int64_t>(num_sequences) ||
      !std::is_sorted(boundaries.begin(), boundaries.end())) {
    throw index.error("document boundaries do not ascend from 0 to the " + std::to_string(num_sequences) + " sequences");
  }
  num_documents_ = static_cast<int64_t>(boundaries.size()) - 1;
}

void IndexedDataset::read(int64_t sequence, int64_t offset, std::span<int32_t> tokens) const {
  const std::byte* from = tokens_.bytes().data() + offsets_[sequence] + offset * static_cast<int64_t>(token_type_bytes(type_));
  switch (type_) {
    case TokenType::u8: return widen<uint8_t>(from, tokens);
    case TokenType::i8: return widen<int8_t>(from, tokens);
    case TokenType::i16: return widen<int16_t>(from, tokens);
    case TokenType::u16: return widen<uint16_t>(from, tokens);
    case TokenType::i32: return widen<int32_t>(from, tokens);
    case TokenType::i64: return widen<int64_t>(from, tokens);
  }
}

int64_t IndexedDataset::max_token_id() const {
  switch (type_) {
    case TokenType::u8: return max_of<uint8_t>(tokens_.bytes());
    case TokenType::i8: return max_of<int8_t>(tokens_.bytes());
    case TokenType::i16: return max_of<int16_t>(tokens_.bytes());
    case TokenType::u16: return max_of<uint16_t>(tokens_.bytes());
    case TokenType::i32: return max_of<int32_t>(tokens_.bytes());
    case TokenType::i64: return max_of<int64_t>(tokens_.bytes());
  }
  return -1;
}

IndexedDatasetWriter::IndexedDatasetWriter(const std::filesystem::path& prefix, int64_t vocab_size)
    : prefix_(prefix), type_(token_type_for(vocab_size)) {
  std::error_code failed;
  if (prefix.has_parent_path()) std::filesystem::create_directories(prefix.parent_path(), failed);
  std::filesystem::remove(with_suffix(prefix, ".idx"), failed);  // an index of earlier data must not outlive its .bin
  bin_.open(with_suffix(prefix, ".bin"), std::ios::binary | std::ios::trunc);
  if (!bin_) throw DataError{with_suffix(prefix, ".bin").string(), "", "cannot be written", "a folder that can be written to"};
}

IndexedDatasetWriter::~IndexedDatasetWriter() {
  if (finished_) return;
  bin_.close();
  std::error_code ignored;
  for (const char* suffix : {".bin", ".idx.partial"}) std::filesystem::remove(with_suffix(prefix_, suffix), ignored);
}

void IndexedDatasetWriter::add_document(std::span<const int32_t> tokens) {
  const std::string file = with_suffix(prefix_, ".bin").string();
  if (tokens.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    throw DataError{file, "", "document " + std::to_string(lengths_.size()) + " has " + std::to_string(tokens.size()) +
                                  " tokens, more than 2^31 - 1", "splitting it"};
  }
  const bool narrow = type_ == TokenType::u16;
  const int32_t largest = narrow ? std::numeric_limits<uint16_t>::max() : std::numeric_limits<int32_t>::max();
  buffer_.resize(tokens.size() * (narrow ? 2 : 4));
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] > largest) {
      throw DataError{file, "", "token id " + std::to_string(tokens[i]) + " does not fit " + token_type_name(type_)};
    }
    if (narrow) {
      const uint16_t value = static_cast<uint16_t>(tokens[i]);
      std::memcpy(&buffer_[i * 2], &value, 2);
    } else {
      std::memcpy(&buffer_[i * 4], &tokens[i], 4);
    }
  }
  bin_.write(buffer_.data(), static_cast<std::streamsize>(buffer_.size()));
  if (!bin_) throw DataError{file, "", "writing failed: is the disk full?"};
  lengths_.push_back(static_cast<int32_t>(tokens.size()));
  num_tokens_ += static_cast<int64_t>(tokens.size());
}

void IndexedDatasetWriter::finish() {
  bin_.close();
  if (!bin_) throw DataError{with_suffix(prefix_, ".bin").string(), "", "writing failed: is the disk full?"};

  const std::filesystem::path partial = with_suffix(prefix_, ".idx.partial");
  std::ofstream index(partial, std::ios::binary | std::ios::trunc);
  const auto put = [&](const void* data, size_t bytes) { index.write(static_cast<const char*>(data), static_cast<std::streamsize>(bytes)); };
  const uint64_t version = 1, num_sequences = lengths_.size(), num_boundaries = lengths_.size() + 1;
  const uint8_t type = static_cast<uint8_t>(type_);
  put(kMagic, sizeof(kMagic));
  put(&version, sizeof(version));
  put(&type, sizeof(type));
  put(&num_sequences, sizeof(num_sequences));
  put(&num_boundaries, sizeof(num_boundaries));
  put(lengths_.data(), lengths_.size() * sizeof(int32_t));
  int64_t offset = 0;
  for (const int32_t length : lengths_) {
    put(&offset, sizeof(offset));
    offset += length * static_cast<int64_t>(token_type_bytes(type_));
  }
  for (int64_t boundary = 0; boundary <= num_documents(); ++boundary) put(&boundary, sizeof(boundary));  // a document is one sequence
  index.close();
  std::error_code failed;
  if (index) std::filesystem::rename(partial, with_suffix(prefix_, ".idx"), failed);
  if (!index || failed) throw DataError{with_suffix(prefix_, ".idx").string(), "", "writing failed: is the disk full?"};
  finished_ = true;
}

void check_vocabulary(const IndexedDataset& data, int64_t vocab_size) {
  const int64_t largest = data.max_token_id();
  if (largest < vocab_size) return;
  throw DataError{with_suffix(data.prefix(), ".bin").string(), "", "holds token id " + std::to_string(largest) +
                  ", the model's vocabulary has " + std::to_string(vocab_size) + " ids",
                  "the tokenizer that made this data, or model.vocab_size of at least " + std::to_string(largest + 1)};
}

}  // namespace nemo
