// Tokens found in a text as they stand, before and apart from the model: the "added_tokens" of tokenizer.json.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/tokenizer/huggingface/regex.h"
#include "core/tokenizer/huggingface/vocabulary.h"

namespace nemo::huggingface {

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool special = false;
  bool single_word = false;             // only where no word character adjoins it
  bool lstrip = false, rstrip = false;  // takes the white space on that side with it
  bool normalized = false;              // looked for in the normalised text
};

// Finds the longest of its tokens at the leftmost place, again and again.
class AddedTokenFinder {
 public:
  explicit AddedTokenFinder(const JsonField& place);
  void add(const std::string& written, const AddedToken& token);  // written: the content as it stands in the text

  // Calls take(piece, id) for the tokens found and, with no id, for the text between them, in order. Empty pieces are
  // left out. text must be valid UTF-8.
  void split(std::string_view text, const std::function<void(std::string_view piece, std::optional<int32_t> id)>& take) const;

 private:
  struct Match {
    size_t length = 0;
    const AddedToken* token = nullptr;
  };
  Match match_at(std::string_view text, size_t at) const;

  bool stands_alone(std::string_view text, size_t begin, size_t end) const;

  Regex word_character_;
  std::unordered_map<std::string, AddedToken, TextHash, std::equal_to<>> tokens_;
  std::array<std::vector<size_t>, 256> lengths_;  // by first byte: lengths of the tokens that begin so, longest first
};

}  // namespace nemo::huggingface
