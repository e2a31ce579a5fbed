// Cutting a text into the words a model splits further: the "pre_tokenizer" of tokenizer.json.
// Words to ids: token_model.h; added tokens are cut out before (added_tokens.h).
#pragma once
#include <functional>
#include <memory>
#include <string_view>

#include "core/tokenizer/huggingface/json_field.h"

namespace nemo::huggingface {

// Takes a word, and whether it begins where the whole text does. The word lives for the call only.
using TakeWord = std::function<void(std::string_view word, bool at_start)>;

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Hands out the words of `text` (valid UTF-8) in order; const, for many threads.
  virtual void split(std::string_view text, bool at_start, const TakeWord& take) const = 0;
};

// By the field's "type". Throws DataError for one not known here.
std::unique_ptr<PreTokenizer> make_pre_tokenizer(const JsonField& field);

}  // namespace nemo::huggingface
