// The recipe's `tokenizer` section. Not here: tokenizers (core/tokenizer/tokenizer.h).
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/config/field.h"

namespace nemo {

enum class TokenizerType : uint8_t { none, byte, character, huggingface, sentencepiece };

std::span<const std::string_view> enum_names(TokenizerType);  // "none", "byte", "char", "huggingface", "sentencepiece"

struct TokenizerConfig {
  TokenizerType type = TokenizerType::none;
  std::string model;  // huggingface: tokenizer.json or its folder; sentencepiece: .model; char: a saved vocabulary, or
                      // empty to make one
  int64_t make_vocab_size_divisible_by = 128;

  template <class Visit>
  void fields(Visit&& visit) {
    visit("type", type, "none: token ids only, as an indexed set holds them");
    visit("model", model, "file or folder of the tokenizer; char: null makes the vocabulary from data.text",
          Optional{});
    visit("make_vocab_size_divisible_by", make_vocab_size_divisible_by,
          "the embedding is padded to a multiple of this times tensor_model_parallel_size", Positive{}, AtMost{1e6});
  }
};

}  // namespace nemo
