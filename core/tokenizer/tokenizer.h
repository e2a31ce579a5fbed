// What a tokenizer is: text to ids and back. Its kinds (bytes, characters, Hugging Face files) live beside this file
// and are made by load_tokenizer; chat templates and data formats live elsewhere.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/tokenizer/config.h"

namespace nemo {

// A file a tokenizer can be loaded from again; checkpoints carry these.
struct TokenizerFile {
  std::string name, contents;
};

// Immutable once made: encode and decode may be called from many threads at once.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Token ids of `text`. add_special: also what the tokenizer's post-processor adds (begin and end tokens).
  virtual std::vector<int32_t> encode(std::string_view text, bool add_special) const = 0;

  // The bytes the ids stand for; not always whole UTF-8 characters, see valid_utf8. skip_special leaves out special
  // tokens. Throws DataError for an id outside the vocabulary.
  virtual std::string decode(std::span<const int32_t> ids, bool skip_special) const = 0;

  virtual int64_t vocab_size() const = 0;  // the largest id + 1

  virtual std::optional<int32_t> bos() const { return std::nullopt; }
  virtual std::optional<int32_t> eos() const { return std::nullopt; }  // also ends a document in indexed data
  virtual std::optional<int32_t> unk() const { return std::nullopt; }
  virtual std::optional<int32_t> pad() const { return std::nullopt; }

  // The id of a token written as in its vocabulary, e.g. "<|eot_id|>".
  virtual std::optional<int32_t> token_id(std::string_view token) const { return std::nullopt; }

  // What load_tokenizer needs to make this one again, given the folder that holds them.
  virtual std::vector<TokenizerFile> files() const { return {}; }
};

// model: unused for byte; for character what files() gave, its folder, or a text file to take the characters from; for
// huggingface a tokenizer.json or its folder. Throws DataError: a missing or malformed file, a type not known here.
std::unique_ptr<Tokenizer> load_tokenizer(TokenizerType type, const std::filesystem::path& model);

}  // namespace nemo
