#include "core/tokenizer/utf8.h"

#include <algorithm>
#include <cstring>

namespace nemo {
namespace {

struct LeadByte {
  int num_bytes;               // of the whole character; 0: no character starts so
  uint8_t second_low, second_high;  // allowed second byte: excludes overlong forms, surrogates, > U+10FFFF
};

LeadByte lead_byte(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

}  // namespace

CodePoint decode_utf8(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const LeadByte lead = lead_byte(byte(at));
  if (lead.num_bytes == 1) return {byte(at), 1, true};
  if (lead.num_bytes == 0) return {kReplacementCharacter, 1, false};
  uint32_t value = byte(at) & (0xFFu >> (lead.num_bytes + 1));
  for (int i = 1; i < lead.num_bytes; ++i) {
    const uint8_t low = i == 1 ? lead.second_low : 0x80, high = i == 1 ? lead.second_high : 0xBF;
    if (at + i >= text.size() || byte(at + i) < low || byte(at + i) > high) return {kReplacementCharacter, i, false};
    value = value << 6 | (byte(at + i) & 0x3Fu);
  }
  return {value, lead.num_bytes, true};
}

void append_utf8(std::string& text, uint32_t c) {
  const auto tail = [&](int shift) { text += static_cast<char>(0x80 | (c >> shift & 0x3F)); };
  if (c < 0x80) {
    text += static_cast<char>(c);
  } else if (c < 0x800) {
    text += static_cast<char>(0xC0 | c >> 6);
    tail(0);
  } else if (c < 0x10000) {
    text += static_cast<char>(0xE0 | c >> 12);
    tail(6), tail(0);
  } else {
    text += static_cast<char>(0xF0 | c >> 18);
    tail(12), tail(6), tail(0);
  }
}

size_t complete_utf8_prefix(std::string_view text) {
  const size_t earliest = text.size() - std::min<size_t>(text.size(), 3);
  for (size_t start = text.size(); start-- > earliest;) {
    const uint8_t byte = static_cast<uint8_t>(text[start]);
    if ((byte & 0xC0) == 0x80) continue;
    const CodePoint last = decode_utf8(text, start);
    const bool cut_short = !last.valid && start + last.num_bytes == text.size() && lead_byte(byte).num_bytes > 1;
    return cut_short ? start : text.size();
  }
  return text.size();
}

bool is_valid_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    uint64_t eight;  // ASCII, most of the time, is passed eight at once
    if (at + 8 <= text.size() && (std::memcpy(&eight, &text[at], 8), (eight & 0x8080808080808080ull) == 0)) {
      at += 8;
      continue;
    }
    const CodePoint c = decode_utf8(text, at);
    if (!c.valid) return false;
    at += c.num_bytes;
  }
  return true;
}

std::string valid_utf8(std::string_view text) {
  std::string mended;
  mended.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = decode_utf8(text, at);
    if (c.valid) {
      mended.append(text, at, c.num_bytes);
    } else {
      append_utf8(mended, kReplacementCharacter);
    }
    at += c.num_bytes;
  }
  return mended;
}

}  // namespace nemo
