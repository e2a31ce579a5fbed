// Tokens back to text: the "decoder" of tokenizer.json. Ids to tokens: vocabulary.h.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/tokenizer/huggingface/json_field.h"

namespace nemo::huggingface {

class Decoder {
 public:
  virtual ~Decoder() = default;
  virtual std::vector<std::string> decode(std::vector<std::string> tokens) const = 0;  // the text is these, joined
};

// By the field's "type". Throws DataError for one not known here.
std::unique_ptr<Decoder> make_decoder(const JsonField& field);

}  // namespace nemo::huggingface
