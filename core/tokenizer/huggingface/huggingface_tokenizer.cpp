#include "core/tokenizer/huggingface/huggingface_tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/data/file_bytes.h"
#include "core/tokenizer/utf8.h"

namespace nemo::huggingface {
namespace {

constexpr uint64_t kMaxFileBytes = uint64_t{1} << 30;

// The names that the token of each role goes by where no tokenizer_config.json tells.
constexpr const char* kUsualBos[] = {"<s>", "<|begin_of_text|>", "[CLS]"};
constexpr const char* kUsualEos[] = {"</s>", "<|end_of_text|>", "<|endoftext|>", "[SEP]"};
constexpr const char* kUsualUnk[] = {"<unk>", "[UNK]"};
constexpr const char* kUsualPad[] = {"<pad>", "[PAD]"};

nlohmann::json parse(const std::filesystem::path& path, const std::string& text) {
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    throw DataError{path.string(), "", "not JSON (byte " + std::to_string(error.byte) + " of " + std::to_string(text.size()) + ")"};
  }
}

}  // namespace

HuggingFaceTokenizer::HuggingFaceTokenizer(const JsonField& root, const std::optional<JsonField>& config,
                                           std::vector<TokenizerFile> files)
    : model_(make_token_model(root["model"])), in_raw_text_(root), in_normalized_text_(root), files_(std::move(files)) {
  if (const auto field = root.find("normalizer")) normalizer_ = make_normalizer(*field);
  if (const auto field = root.find("pre_tokenizer")) pre_tokenizer_ = make_pre_tokenizer(*field);
  if (const auto field = root.find("post_processor")) around_ = read_post_processor(*field);
  if (const auto field = root.find("decoder")) decoder_ = make_decoder(*field);
  vocab_size_ = model_->vocabulary().size();
  read_added_tokens(root);
  read_named_tokens(root, config);
}

void HuggingFaceTokenizer::read_added_tokens(const JsonField& root) {
  const auto list = root.find("added_tokens");
  if (!list) return;
  for (const JsonField& field : list->elements()) {
    const AddedToken token{.content = field["content"].text(),
                           .id = static_cast<int32_t>(field["id"].integer(0, kMaxTokenId)),
                           .special = field.flag("special", false),
                           .single_word = field.flag("single_word", false),
                           .lstrip = field.flag("lstrip", false),
                           .rstrip = field.flag("rstrip", false),
                           .normalized = field.flag("normalized", true)};
    const auto in_model = model_->vocabulary().id_of(token.content);
    if (in_model && *in_model != token.id) {
      throw field.error("\"" + token.content + "\" has id " + std::to_string(token.id) + ", and " + std::to_string(*in_model) + " in the vocabulary");
    }
    added_[token.id] = token;
    added_ids_[token.content] = token.id;
    vocab_size_ = std::max<int64_t>(vocab_size_, token.id + 1);
    if (token.normalized && normalizer_) {
      in_normalized_text_.add(normalizer_->normalize(token.content), token);
    } else if (token.normalized) {
      in_normalized_text_.add(token.content, token);
    } else {
      in_raw_text_.add(token.content, token);
    }
  }
}

void HuggingFaceTokenizer::read_named_tokens(const JsonField& root, const std::optional<JsonField>& config) {
  const auto named = [&](const char* key, std::span<const char* const> usual) -> std::optional<int32_t> {
    if (config) {
      const auto field = config->find(key);
      if (!field) return std::nullopt;
      return token_id(field->value().is_object() ? (*field)["content"].text() : field->text());
    }
    for (const char* name : usual) {
      const auto found = added_ids_.find(name);
      if (found != added_ids_.end()) return found->second;
    }
    return std::nullopt;
  };
  named_ = {named("bos_token", kUsualBos), named("eos_token", kUsualEos), named("unk_token", kUsualUnk), named("pad_token", kUsualPad)};
  const auto unknown = root["model"].find("unk_token");
  if (!named_.unk && unknown) named_.unk = token_id(unknown->text());
}

std::optional<int32_t> HuggingFaceTokenizer::token_id(std::string_view token) const {
  const auto found = added_ids_.find(std::string(token));
  if (found != added_ids_.end()) return found->second;
  return model_->vocabulary().id_of(token);
}

std::vector<int32_t> HuggingFaceTokenizer::encode(std::string_view text, bool add_special) const {
  std::string mended;
  if (!is_valid_utf8(text)) text = mended = valid_utf8(text);
  std::vector<int32_t> ids;
  if (add_special) ids = around_.before;
  in_raw_text_.split(text, [&](std::string_view piece, std::optional<int32_t> added) {
    if (added) return ids.push_back(*added);
    const bool at_start = piece.data() == text.data();
    std::string normalized;
    if (normalizer_) piece = normalized = normalizer_->normalize(std::string(piece));
    in_normalized_text_.split(piece, [&](std::string_view words, std::optional<int32_t> found) {
      if (found) return ids.push_back(*found);
      append_words(words, at_start && words.data() == piece.data(), ids);
    });
  });
  if (add_special) ids.insert(ids.end(), around_.after.begin(), around_.after.end());
  return ids;
}

void HuggingFaceTokenizer::append_words(std::string_view text, bool at_start, std::vector<int32_t>& ids) const {
  if (!pre_tokenizer_) return model_->append_ids(text, ids);
  pre_tokenizer_->split(text, at_start, [&](std::string_view word, bool) { model_->append_ids(word, ids); });
}

std::string HuggingFaceTokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::vector<std::string> tokens;
  for (const int32_t id : ids) {
    const auto added = added_.find(id);
    if (added != added_.end()) {
      if (!skip_special || !added->second.special) tokens.push_back(added->second.content);
      continue;
    }
    const std::string* token = model_->vocabulary().token_of(id);
    if (!token) {
      throw DataError{"", "tokenizer", "id " + std::to_string(id) + " is not in its vocabulary of " + std::to_string(vocab_size_)};
    }
    tokens.push_back(*token);
  }
  std::string text;
  if (decoder_) tokens = decoder_->decode(std::move(tokens));
  for (size_t i = 0; i < tokens.size(); ++i) text += !decoder_ && i > 0 ? " " + tokens[i] : tokens[i];
  return text;
}

}  // namespace nemo::huggingface

namespace nemo {

std::unique_ptr<Tokenizer> load_huggingface_tokenizer(const std::filesystem::path& path) {
  using namespace huggingface;
  std::error_code ignored;
  const std::filesystem::path file = std::filesystem::is_directory(path, ignored) ? path / "tokenizer.json" : path;
  std::vector<TokenizerFile> files;
  files.push_back({"tokenizer.json", read_file_bytes(file, "a Hugging Face tokenizer.json, or the folder that holds it", kMaxFileBytes)});
  const nlohmann::json root = parse(file, files[0].contents);

  const std::filesystem::path config_file = file.parent_path() / "tokenizer_config.json";
  nlohmann::json config;
  std::optional<JsonField> config_field;
  if (std::filesystem::exists(config_file, ignored)) {
    files.push_back({"tokenizer_config.json", read_file_bytes(config_file, "", kMaxFileBytes)});
    config = parse(config_file, files[1].contents);
    config_field.emplace(config, config_file.string(), "");
  }
  return std::make_unique<HuggingFaceTokenizer>(JsonField(root, file.string(), ""), config_field, std::move(files));
}

}  // namespace nemo
