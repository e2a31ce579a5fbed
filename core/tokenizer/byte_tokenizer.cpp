#include "core/tokenizer/byte_tokenizer.h"

#include "core/error.h"

namespace nemo {
namespace {
constexpr std::string_view kEndOfDocument = "<|endoftext|>";
}

std::vector<int32_t> ByteTokenizer::encode(std::string_view text, bool) const {
  std::vector<int32_t> ids(text.size());
  for (size_t i = 0; i < text.size(); ++i) ids[i] = static_cast<uint8_t>(text[i]);
  return ids;
}

std::string ByteTokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string text;
  text.reserve(ids.size());
  for (const int32_t id : ids) {
    if (id < 0 || id > 256) {
      throw DataError{"", "byte tokenizer", "id " + std::to_string(id) + " is not in its vocabulary of 257"};
    }
    if (id < 256) {
      text += static_cast<char>(id);
    } else if (!skip_special) {
      text += kEndOfDocument;
    }
  }
  return text;
}

std::optional<int32_t> ByteTokenizer::token_id(std::string_view token) const {
  if (token == kEndOfDocument) return 256;
  if (token.size() == 1) return static_cast<uint8_t>(token[0]);
  return std::nullopt;
}

}  // namespace nemo
