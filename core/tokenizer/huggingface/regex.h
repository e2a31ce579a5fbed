// What a tokenizer file looks for in text: Unicode regular expressions over UTF-8, by PCRE2, and plain strings. How matches
// cut a text: pre_tokenizer.h.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/tokenizer/huggingface/json_field.h"

namespace nemo::huggingface {

// Patterns are written for Oniguruma (as tokenizer files are); what both dialects read alike is what works here. Matching
// is const and may run on many threads.
class Regex {
 public:
  // place: named in the DataError when the pattern does not compile.
  Regex(const std::string& pattern, const JsonField& place);
  // Matches `text` itself, which is not empty.
  static Regex of_literal(const std::string& text);

  // Calls found(begin, end) for each non-empty match, from left to right. text must be valid UTF-8. Throws DataError when
  // a match takes more steps than PCRE2 allows.
  void for_each_match(std::string_view text, const std::function<void(size_t begin, size_t end)>& found) const;

  std::string replace(std::string_view text, std::string_view with) const;  // `with` is taken as it is

 private:
  Regex() = default;

  struct Compiled;
  std::string literal_;  // looked for where there is no compiled_
  std::shared_ptr<const Compiled> compiled_;
};

// A "pattern": {"String": ...} or {"Regex": ...}.
Regex make_pattern(const JsonField& field);

}  // namespace nemo::huggingface
