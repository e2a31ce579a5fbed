// A Hugging Face tokenizer.json, put together from the components beside this file. Unsupported components are refused by
// name; chat templates and pairs of texts are not handled here.
#pragma once
#include <memory>

#include "core/tokenizer/huggingface/added_tokens.h"
#include "core/tokenizer/huggingface/decoder.h"
#include "core/tokenizer/huggingface/normalizer.h"
#include "core/tokenizer/huggingface/post_processor.h"
#include "core/tokenizer/huggingface/pre_tokenizer.h"
#include "core/tokenizer/huggingface/token_model.h"
#include "core/tokenizer/tokenizer.h"

namespace nemo::huggingface {

// What tokenizer_config.json names.
struct NamedTokens {
  std::optional<int32_t> bos, eos, unk, pad;
};

class HuggingFaceTokenizer : public Tokenizer {
 public:
  // root: the whole tokenizer.json; config: tokenizer_config.json, where there is one.
  HuggingFaceTokenizer(const JsonField& root, const std::optional<JsonField>& config, std::vector<TokenizerFile> files);

  // A byte that is not UTF-8 counts as U+FFFD.
  std::vector<int32_t> encode(std::string_view text, bool add_special) const override;
  std::string decode(std::span<const int32_t> ids, bool skip_special) const override;
  int64_t vocab_size() const override { return vocab_size_; }
  std::optional<int32_t> bos() const override { return named_.bos; }
  std::optional<int32_t> eos() const override { return named_.eos; }
  std::optional<int32_t> unk() const override { return named_.unk; }
  std::optional<int32_t> pad() const override { return named_.pad; }
  std::optional<int32_t> token_id(std::string_view token) const override;
  std::vector<TokenizerFile> files() const override { return files_; }

 private:
  void read_added_tokens(const JsonField& root);
  void read_named_tokens(const JsonField& root, const std::optional<JsonField>& config);
  void append_words(std::string_view text, bool at_start, std::vector<int32_t>& ids) const;

  std::unique_ptr<Normalizer> normalizer_;      // null: none
  std::unique_ptr<PreTokenizer> pre_tokenizer_;  // null: a text is one word
  std::unique_ptr<TokenModel> model_;
  SpecialTokensAround around_;
  std::unique_ptr<Decoder> decoder_;  // null: tokens joined by spaces
  AddedTokenFinder in_raw_text_, in_normalized_text_;
  std::unordered_map<int32_t, AddedToken> added_;
  std::unordered_map<std::string, int32_t> added_ids_;
  int64_t vocab_size_ = 0;
  NamedTokens named_;
  std::vector<TokenizerFile> files_;
};

}  // namespace nemo::huggingface

namespace nemo {

// path: tokenizer.json or its folder; tokenizer_config.json is read from beside it. Throws DataError.
std::unique_ptr<Tokenizer> load_huggingface_tokenizer(const std::filesystem::path& path);

}  // namespace nemo
