// Words to ids: the "model" of tokenizer.json. Cutting a text into words: pre_tokenizer.h.
#pragma once
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "core/tokenizer/huggingface/json_field.h"
#include "core/tokenizer/huggingface/vocabulary.h"

namespace nemo::huggingface {

class TokenModel {
 public:
  explicit TokenModel(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}
  virtual ~TokenModel() = default;
  virtual void append_ids(std::string_view word, std::vector<int32_t>& ids) const = 0;  // const, for many threads

  const Vocabulary& vocabulary() const { return vocabulary_; }

 protected:
  Vocabulary vocabulary_;
};

// By the field's "type"; files from before it was written hold a BPE. Throws DataError for one not known here.
std::unique_ptr<TokenModel> make_token_model(const JsonField& field);

// "vocab" as an object of token: id.
Vocabulary read_vocabulary(const JsonField& field);

}  // namespace nemo::huggingface
