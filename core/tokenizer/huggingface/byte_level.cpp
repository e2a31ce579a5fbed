#include "core/tokenizer/huggingface/byte_level.h"

#include "core/tokenizer/utf8.h"

namespace nemo::huggingface {

ByteLevelAlphabet::ByteLevelAlphabet() {
  bytes_.fill(-1);
  uint32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
    const uint32_t character = printable ? static_cast<uint32_t>(byte) : next++;
    append_utf8(characters_[byte], character);
    bytes_[character] = static_cast<int16_t>(byte);
  }
}

void ByteLevelAlphabet::append_written(std::string& out, std::string_view bytes) const {
  for (const char byte : bytes) out += characters_[static_cast<uint8_t>(byte)];
}

std::optional<std::string> ByteLevelAlphabet::read(std::string_view written) const {
  std::string bytes;
  for (size_t at = 0; at < written.size();) {
    const CodePoint c = decode_utf8(written, at);
    if (c.value >= bytes_.size() || bytes_[c.value] < 0) return std::nullopt;
    bytes += static_cast<char>(bytes_[c.value]);
    at += c.num_bytes;
  }
  return bytes;
}

}  // namespace nemo::huggingface
