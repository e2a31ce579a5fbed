// The special tokens set around a text: the "post_processor" of tokenizer.json. Pairs of texts are not handled.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "core/tokenizer/huggingface/json_field.h"
#include "core/tokenizer/huggingface/vocabulary.h"

namespace nemo::huggingface {

// What goes before and after the ids of a text.
struct SpecialTokensAround {
  std::vector<int32_t> before, after;
};

// By the field's "type". Throws DataError for one not known here.
SpecialTokensAround read_post_processor(const JsonField& field);

}  // namespace nemo::huggingface
