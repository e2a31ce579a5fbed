// One id a character of a given text, in code point order. The text itself is not kept.
#pragma once
#include <unordered_map>

#include "core/tokenizer/tokenizer.h"

namespace nemo {

class CharTokenizer : public Tokenizer {
 public:
  // characters: distinct code points, ascending; their places are their ids.
  explicit CharTokenizer(std::vector<uint32_t> characters);

  // Throws DataError for a character that the vocabulary lacks.
  std::vector<int32_t> encode(std::string_view text, bool add_special) const override;
  std::string decode(std::span<const int32_t> ids, bool skip_special) const override;
  int64_t vocab_size() const override { return static_cast<int64_t>(characters_.size()); }
  std::optional<int32_t> token_id(std::string_view token) const override;
  std::vector<TokenizerFile> files() const override;  // char_tokenizer.json

 private:
  std::vector<uint32_t> characters_;
  std::unordered_map<uint32_t, int32_t> ids_;
};

// The vocabulary of every character in `text`; a byte that is not UTF-8 counts as U+FFFD.
CharTokenizer char_tokenizer_of(std::string_view text);

// path: char_tokenizer.json, a folder that holds it, or any text file to take the characters from.
std::unique_ptr<Tokenizer> load_char_tokenizer(const std::filesystem::path& path);

}  // namespace nemo
