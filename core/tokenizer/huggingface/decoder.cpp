#include "core/tokenizer/huggingface/decoder.h"

#include <charconv>
#include <limits>

#include "core/tokenizer/huggingface/byte_level.h"
#include "core/tokenizer/huggingface/regex.h"
#include "core/tokenizer/utf8.h"

namespace nemo::huggingface {
namespace {

constexpr int64_t kMaxStripped = std::numeric_limits<int32_t>::max();

class ByteLevelDecoder : public Decoder {
 public:
  std::vector<std::string> decode(std::vector<std::string> tokens) const override {
    for (std::string& token : tokens) {
      if (std::optional<std::string> bytes = alphabet_.read(token)) token = std::move(*bytes);  // else an added token, as it is
    }
    return tokens;
  }

 private:
  ByteLevelAlphabet alphabet_;
};

class ReplaceDecoder : public Decoder {
 public:
  ReplaceDecoder(Regex pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}
  std::vector<std::string> decode(std::vector<std::string> tokens) const override {
    for (std::string& token : tokens) token = pattern_.replace(valid_utf8(token), content_);
    return tokens;
  }

 private:
  Regex pattern_;
  std::string content_;
};

// <0xE2> is the byte E2. Bytes stay bytes here, also where they are not UTF-8: the reader of the text decides.
class ByteFallbackDecoder : public Decoder {
 public:
  std::vector<std::string> decode(std::vector<std::string> tokens) const override {
    for (std::string& token : tokens) {
      if (const std::optional<char> byte = byte_of(token)) token.assign(1, *byte);
    }
    return tokens;
  }

 private:
  static std::optional<char> byte_of(const std::string& token) {
    if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
    uint8_t value = 0;
    const auto [end, failed] = std::from_chars(token.data() + 3, token.data() + 5, value, 16);
    if (failed != std::errc() || end != token.data() + 5) return std::nullopt;
    return static_cast<char>(value);
  }
};

class FuseDecoder : public Decoder {
 public:
  std::vector<std::string> decode(std::vector<std::string> tokens) const override {
    std::string joined;
    for (const std::string& token : tokens) joined += token;
    return {std::move(joined)};
  }
};

// Takes up to `start` copies of `content` off the front of each token, and `stop` off its end.
class StripDecoder : public Decoder {
 public:
  StripDecoder(std::string content, int64_t start, int64_t stop) : content_(std::move(content)), start_(start), stop_(stop) {}
  std::vector<std::string> decode(std::vector<std::string> tokens) const override {
    for (std::string& token : tokens) {
      for (int64_t i = 0; i < start_ && token.starts_with(content_); ++i) token.erase(0, content_.size());
      for (int64_t i = 0; i < stop_ && token.ends_with(content_); ++i) token.erase(token.size() - content_.size());
    }
    return tokens;
  }

 private:
  std::string content_;
  int64_t start_, stop_;
};

class SequenceDecoder : public Decoder {
 public:
  explicit SequenceDecoder(std::vector<std::unique_ptr<Decoder>> steps) : steps_(std::move(steps)) {}
  std::vector<std::string> decode(std::vector<std::string> tokens) const override {
    for (const auto& step : steps_) tokens = step->decode(std::move(tokens));
    return tokens;
  }

 private:
  std::vector<std::unique_ptr<Decoder>> steps_;
};

}  // namespace

std::unique_ptr<Decoder> make_decoder(const JsonField& field) {
  const std::string& type = field["type"].text();
  if (type == "ByteLevel") return std::make_unique<ByteLevelDecoder>();
  if (type == "Replace") return std::make_unique<ReplaceDecoder>(make_pattern(field["pattern"]), field["content"].text());
  if (type == "ByteFallback") return std::make_unique<ByteFallbackDecoder>();
  if (type == "Fuse") return std::make_unique<FuseDecoder>();
  if (type == "Strip") {
    const JsonField content = field["content"];
    if (content.text().empty()) throw content.error("is empty");
    return std::make_unique<StripDecoder>(content.text(), field["start"].integer(0, kMaxStripped), field["stop"].integer(0, kMaxStripped));
  }
  if (type == "Sequence") {
    std::vector<std::unique_ptr<Decoder>> steps;
    for (const JsonField& step : field["decoders"].elements()) steps.push_back(make_decoder(step));
    return std::make_unique<SequenceDecoder>(std::move(steps));
  }
  throw field.unsupported();
}

}  // namespace nemo::huggingface
