// Rewriting a text before it is cut into words: the "normalizer" of tokenizer.json.
#pragma once
#include <memory>
#include <string>

#include "core/tokenizer/huggingface/json_field.h"

namespace nemo::huggingface {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual std::string normalize(std::string text) const = 0;  // valid UTF-8 to valid UTF-8; const, for many threads
};

// By the field's "type". Throws DataError for one not known here.
std::unique_ptr<Normalizer> make_normalizer(const JsonField& field);

}  // namespace nemo::huggingface
