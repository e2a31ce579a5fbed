// UTF-8: reading code points, writing them, and mending what is not UTF-8. No Unicode tables here.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace nemo {

inline constexpr uint32_t kReplacementCharacter = 0xFFFD;

struct CodePoint {
  uint32_t value;  // kReplacementCharacter where the bytes are not UTF-8
  int num_bytes;   // bytes taken, at least 1
  bool valid;
};

// The code point at text[at]. Overlong forms, surrogates and values over U+10FFFF are invalid, and take the bytes
// that the Unicode standard's "maximal subpart" rule says (chapter 3.9, U+FFFD substitution).
CodePoint decode_utf8(std::string_view text, size_t at);

void append_utf8(std::string& text, uint32_t code_point);

// Length of the prefix that ends before a character whose bytes have not all come yet (at most 3 bytes short).
size_t complete_utf8_prefix(std::string_view text);

bool is_valid_utf8(std::string_view text);

// `text` with each invalid part replaced by U+FFFD, for writers of JSON and terminals.
std::string valid_utf8(std::string_view text);

}  // namespace nemo
