#include "core/error.h"
#include "core/tokenizer/byte_tokenizer.h"
#include "core/tokenizer/char_tokenizer.h"
#include "core/tokenizer/huggingface/huggingface_tokenizer.h"
#include "core/tokenizer/tokenizer.h"

namespace nemo {
namespace {

const std::filesystem::path& required(const std::filesystem::path& model, const char* suggestion) {
  if (model.empty()) throw DataError{"", "tokenizer.model", "this type of tokenizer needs a file", suggestion};
  return model;
}

}  // namespace

std::unique_ptr<Tokenizer> load_tokenizer(TokenizerType type, const std::filesystem::path& model) {
  switch (type) {
    case TokenizerType::byte: return std::make_unique<ByteTokenizer>();
    case TokenizerType::character: return load_char_tokenizer(required(model, "a text file, or a char_tokenizer.json"));
    case TokenizerType::huggingface: return load_huggingface_tokenizer(required(model, "a tokenizer.json, or its folder"));
    case TokenizerType::sentencepiece:
      throw DataError{model.string(), "tokenizer.type", "sentencepiece models cannot be read yet",
                      "huggingface with the tokenizer.json that comes with the model"};
    case TokenizerType::none: break;
  }
  throw DataError{"", "tokenizer.type", "none: there is no tokenizer to read or write text with", "byte, char or huggingface"};
}

}  // namespace nemo
