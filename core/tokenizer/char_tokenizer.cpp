#include "core/tokenizer/char_tokenizer.h"

#include <nlohmann/json.hpp>

#include "core/data/file_bytes.h"
#include "core/error.h"
#include "core/tokenizer/utf8.h"

namespace nemo {
namespace {

constexpr const char* kFileName = "char_tokenizer.json";

std::unique_ptr<Tokenizer> parse_vocabulary(const std::filesystem::path& path, const std::string& text) {
  const nlohmann::json file = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto malformed = [&](const std::string& what) { return DataError{path.string(), "", what}; };
  if (!file.is_object() || !file.contains("characters") || !file["characters"].is_string()) {
    throw malformed("not a character vocabulary: expected {\"type\": \"char\", \"characters\": \"...\"}");
  }
  const std::string characters = file["characters"];
  std::vector<uint32_t> code_points;
  for (size_t at = 0; at < characters.size();) {
    const CodePoint c = decode_utf8(characters, at);
    if (!code_points.empty() && code_points.back() >= c.value) throw malformed("characters are not in ascending order");
    code_points.push_back(c.value);
    at += c.num_bytes;
  }
  if (code_points.empty()) throw malformed("the vocabulary is empty");
  return std::make_unique<CharTokenizer>(std::move(code_points));
}

}  // namespace

CharTokenizer::CharTokenizer(std::vector<uint32_t> characters) : characters_(std::move(characters)) {
  for (size_t i = 0; i < characters_.size(); ++i) ids_.emplace(characters_[i], static_cast<int32_t>(i));
}

std::vector<int32_t> CharTokenizer::encode(std::string_view text, bool) const {
  std::vector<int32_t> ids;
  ids.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = decode_utf8(text, at);
    const auto found = ids_.find(c.value);
    if (found == ids_.end()) {
      throw DataError{"", "character tokenizer",
                      "\"" + valid_utf8(text.substr(at, c.num_bytes)) + "\" (byte " + std::to_string(at) +
                          " of the text) is not among its " + std::to_string(characters_.size()) + " characters",
                      "only characters that the training text has"};
    }
    ids.push_back(found->second);
    at += c.num_bytes;
  }
  return ids;
}

std::string CharTokenizer::decode(std::span<const int32_t> ids, bool) const {
  std::string text;
  for (const int32_t id : ids) {
    if (id < 0 || id >= vocab_size()) {
      throw DataError{"", "character tokenizer",
                      "id " + std::to_string(id) + " is not in its vocabulary of " + std::to_string(vocab_size())};
    }
    append_utf8(text, characters_[id]);
  }
  return text;
}

std::optional<int32_t> CharTokenizer::token_id(std::string_view token) const {
  if (token.empty()) return std::nullopt;
  const CodePoint c = decode_utf8(token, 0);
  const auto found = ids_.find(c.value);
  if (found == ids_.end() || static_cast<size_t>(c.num_bytes) != token.size()) return std::nullopt;
  return found->second;
}

std::vector<TokenizerFile> CharTokenizer::files() const {
  std::string characters;
  for (const uint32_t c : characters_) append_utf8(characters, c);
  return {{kFileName, nlohmann::json{{"type", "char"}, {"characters", characters}}.dump() + "\n"}};
}

CharTokenizer char_tokenizer_of(std::string_view text) {
  std::vector<bool> seen(0x110000);
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = decode_utf8(text, at);
    seen[c.value] = true;
    at += c.num_bytes;
  }
  std::vector<uint32_t> characters;
  for (uint32_t c = 0; c < seen.size(); ++c) {
    if (seen[c]) characters.push_back(c);
  }
  return CharTokenizer(std::move(characters));
}

std::unique_ptr<Tokenizer> load_char_tokenizer(const std::filesystem::path& path) {
  const bool is_folder = std::filesystem::is_directory(path);
  const std::filesystem::path file = is_folder ? path / kFileName : path;
  const std::string text = read_file_bytes(file, "a text file, or a char_tokenizer.json");
  if (file.filename() == kFileName) return parse_vocabulary(file, text);
  if (text.empty()) throw DataError{file.string(), "", "the text is empty: no characters to make a tokenizer of"};
  return std::make_unique<CharTokenizer>(char_tokenizer_of(text));
}

}  // namespace nemo
