#include "core/tokenizer/huggingface/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace nemo::huggingface {
namespace {

constexpr size_t kMaxStackBytes = 64 << 20;  // of one match

std::string message_of(int code) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(code, text, sizeof(text));
  return reinterpret_cast<const char*>(text);
}

// \s is Unicode's White_Space to Oniguruma, and that and U+180E to PCRE2.
std::string with_unicode_white_space(const std::string& pattern) {
  std::string out;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '\\' || i + 1 == pattern.size()) {
      out += pattern[i];
      continue;
    }
    const char escaped = pattern[++i];
    if (escaped == 's') out += "\\p{White_Space}";
    else if (escaped == 'S') out += "\\P{White_Space}";
    else (out += '\\') += escaped;
  }
  return out;
}

struct CodeDeleter {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct MatchDeleter {
  void operator()(pcre2_match_data* match) const { pcre2_match_data_free(match); }
};
struct ContextDeleter {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
struct StackDeleter {
  void operator()(pcre2_jit_stack* stack) const { pcre2_jit_stack_free(stack); }
};

}  // namespace

struct Regex::Compiled {
  std::string pattern;
  std::unique_ptr<pcre2_code, CodeDeleter> code;
};

Regex::Regex(const std::string& pattern, const JsonField& place) {
  auto compiled = std::make_shared<Compiled>();
  compiled->pattern = pattern;
  const std::string text = with_unicode_white_space(pattern);
  int error = 0;
  PCRE2_SIZE at = 0;
  compiled->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), PCRE2_UTF | PCRE2_UCP, &error, &at, nullptr));
  if (!compiled->code) throw place.error("not a regular expression that PCRE2 reads: " + message_of(error));
  pcre2_jit_compile(compiled->code.get(), PCRE2_JIT_COMPLETE);  // where there is no JIT the interpreter does it
  compiled_ = std::move(compiled);
}

Regex Regex::of_literal(const std::string& text) {
  Regex regex;
  regex.literal_ = text;
  return regex;
}

void Regex::for_each_match(std::string_view text, const std::function<void(size_t, size_t)>& found) const {
  if (!compiled_) {
    for (size_t at = text.find(literal_); at != std::string_view::npos; at = text.find(literal_, at + literal_.size())) {
      found(at, at + literal_.size());
    }
    return;
  }
  const std::unique_ptr<pcre2_match_data, MatchDeleter> match(pcre2_match_data_create_from_pattern(compiled_->code.get(), nullptr));
  std::unique_ptr<pcre2_match_context, ContextDeleter> context;  // with a larger stack, once the usual one was too small
  std::unique_ptr<pcre2_jit_stack, StackDeleter> stack;
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(match.get());
  for (size_t at = 0; at < text.size();) {
    const int code = pcre2_match(compiled_->code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                                 PCRE2_NO_UTF_CHECK, match.get(), context.get());
    if (code == PCRE2_ERROR_JIT_STACKLIMIT && !stack) {
      context.reset(pcre2_match_context_create(nullptr));
      stack.reset(pcre2_jit_stack_create(1 << 20, kMaxStackBytes, nullptr));
      pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
      continue;
    }
    if (code == PCRE2_ERROR_NOMATCH) return;
    if (code < 0) {
      throw DataError{"", "tokenizer", "the regular expression " + compiled_->pattern + " cannot be matched: " + message_of(code)};
    }
    const size_t begin = bounds[0], end = bounds[1];
    if (end > begin) found(begin, end);
    at = end > begin ? end : end + 1;
    while (at < text.size() && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) ++at;  // on to a whole character
  }
}

std::string Regex::replace(std::string_view text, std::string_view with) const {
  std::string out;
  size_t copied = 0;
  for_each_match(text, [&](size_t begin, size_t end) {
    out.append(text, copied, begin - copied).append(with);
    copied = end;
  });
  return out.append(text, copied);
}

Regex make_pattern(const JsonField& field) {
  if (const auto literal = field.find("String")) {
    if (literal->text().empty()) throw literal->error("is empty");
    return Regex::of_literal(literal->text());
  }
  const JsonField regex = field["Regex"];
  return Regex(regex.text(), regex);
}

}  // namespace nemo::huggingface
