#include "core/tokenizer/huggingface/added_tokens.h"

#include <algorithm>

#include "core/tokenizer/utf8.h"

namespace nemo::huggingface {
namespace {

// Where the character that ends before `at` begins.
size_t previous_character(std::string_view text, size_t at) {
  do --at;
  while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80);
  return at;
}

// Unicode's White_Space.
bool is_white_space(uint32_t c) {
  return (c >= 0x9 && c <= 0xD) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

size_t skip_white_space_left(std::string_view text, size_t at, size_t least) {
  while (at > least) {
    const size_t before = previous_character(text, at);
    if (!is_white_space(decode_utf8(text, before).value)) break;
    at = before;
  }
  return std::max(at, least);
}

size_t skip_white_space_right(std::string_view text, size_t at) {
  while (at < text.size()) {
    const CodePoint c = decode_utf8(text, at);
    if (!is_white_space(c.value)) break;
    at += c.num_bytes;
  }
  return at;
}

}  // namespace

// Word characters as Unicode's technical standard 18 has them (annex C, \w).
AddedTokenFinder::AddedTokenFinder(const JsonField& place)
    : word_character_(R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{200C}\x{200D}])", place) {}

bool AddedTokenFinder::stands_alone(std::string_view text, size_t begin, size_t end) const {
  bool alone = true;
  const auto expect_no_word = [&](std::string_view character) {
    word_character_.for_each_match(character, [&](size_t, size_t) { alone = false; });
  };
  if (begin > 0) {
    const size_t before = previous_character(text, begin);
    expect_no_word(text.substr(before, begin - before));
  }
  if (end < text.size()) expect_no_word(text.substr(end, decode_utf8(text, end).num_bytes));
  return alone;
}

void AddedTokenFinder::add(const std::string& written, const AddedToken& token) {
  if (written.empty()) return;
  tokens_[written] = token;
  std::vector<size_t>& lengths = lengths_[static_cast<uint8_t>(written[0])];
  if (std::find(lengths.begin(), lengths.end(), written.size()) == lengths.end()) lengths.push_back(written.size());
  std::sort(lengths.rbegin(), lengths.rend());
}

AddedTokenFinder::Match AddedTokenFinder::match_at(std::string_view text, size_t at) const {
  for (const size_t length : lengths_[static_cast<uint8_t>(text[at])]) {
    if (length > text.size() - at) continue;
    const auto found = tokens_.find(text.substr(at, length));
    if (found != tokens_.end()) return {length, &found->second};
  }
  return {};
}

void AddedTokenFinder::split(std::string_view text,
                             const std::function<void(std::string_view, std::optional<int32_t>)>& take) const {
  size_t given = 0;  // the text before this has been handed out
  for (size_t at = 0; at < text.size();) {
    const Match match = match_at(text, at);
    if (!match.token) {
      ++at;
      continue;
    }
    size_t begin = at, end = at + match.length;
    at = end;  // a match that does not stand alone is passed over whole
    if (begin < given || (match.token->single_word && !stands_alone(text, begin, end))) continue;
    if (match.token->lstrip) begin = skip_white_space_left(text, begin, given);
    if (match.token->rstrip) end = skip_white_space_right(text, end);
    if (given < begin) take(text.substr(given, begin - given), std::nullopt);
    take(text.substr(begin, end - begin), match.token->id);
    given = end;
  }
  if (given < text.size()) take(text.substr(given), std::nullopt);
}

}  // namespace nemo::huggingface
