#include "core/tokenizer/utf8.h"

#include <catch2/catch.hpp>

namespace nemo {

TEST_CASE("UTF-8 of every code point goes there and back", "[tokenizer]") {
  std::string all;
  for (uint32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    append_utf8(text, c);
    const CodePoint read = decode_utf8(text, 0);
    if (!read.valid || read.value != c || read.num_bytes != static_cast<int>(text.size())) FAIL("code point " << c);
    for (size_t cut = 1; cut < text.size(); ++cut) {
      if (complete_utf8_prefix("ab" + text.substr(0, cut)) != 2) FAIL("code point " << c << " cut after " << cut);
    }
    if (complete_utf8_prefix(text) != text.size()) FAIL("code point " << c);
    all += text;
  }
  CHECK(is_valid_utf8(all));
  CHECK(valid_utf8(all) == all);
}

TEST_CASE("what is not UTF-8 is replaced", "[tokenizer]") {
  const std::string mark = "\xEF\xBF\xBD";
  CHECK(valid_utf8("a\xFFz") == "a" + mark + "z");
  CHECK(valid_utf8("\xC0\xAF") == mark + mark);                        // overlong
  CHECK(valid_utf8("\xED\xA0\x80") == mark + mark + mark);             // surrogate
  CHECK(valid_utf8("\xF4\x90\x80\x80") == mark + mark + mark + mark);  // over U+10FFFF
  CHECK(valid_utf8("\xF0\x9F\x98") == mark);                           // cut short
  CHECK(valid_utf8("\xE4\xBD" "a") == mark + "a");
  CHECK_FALSE(is_valid_utf8("0123456789\x80"));
  CHECK(complete_utf8_prefix("a\xFF") == 2);  // no character begins so: nothing to wait for
  CHECK(complete_utf8_prefix("\x80\x80\x80\x80") == 4);
}

}  // namespace nemo
