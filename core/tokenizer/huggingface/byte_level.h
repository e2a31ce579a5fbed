// GPT-2's way of writing any byte as a printable character, so that a vocabulary of bytes is readable text.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace nemo::huggingface {

// The printable bytes of Latin-1 stand for themselves; the 68 others, in order, for U+0100 and on (a space is U+0120).
class ByteLevelAlphabet {
 public:
  ByteLevelAlphabet();
  void append_written(std::string& out, std::string_view bytes) const;
  // The bytes that `written` stands for; none when a character in it stands for no byte.
  std::optional<std::string> read(std::string_view written) const;

 private:
  std::array<std::string, 256> characters_;
  std::array<int16_t, 0x144> bytes_;  // by code point; -1: none
};

}  // namespace nemo::huggingface
