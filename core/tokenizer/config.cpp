#include "core/tokenizer/config.h"

namespace nemo {

std::span<const std::string_view> enum_names(TokenizerType) {
  static constexpr std::string_view kNames[] = {"none", "byte", "char", "huggingface", "sentencepiece"};
  return kNames;
}

}  // namespace nemo
