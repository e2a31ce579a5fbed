// Byte-pair encoding: Sennrich et al. 2016, arXiv:1508.07909, with the options of tokenizer.json. Words come from
// pre_tokenizer.h.
#pragma once
#include <array>
#include <memory>
#include <string>

#include "core/tokenizer/huggingface/bpe_merges.h"
#include "core/tokenizer/huggingface/token_model.h"

namespace nemo::huggingface {

struct BpeOptions {
  std::optional<int32_t> unknown;        // for what is not in the vocabulary; none: that is left out
  bool fuse_unknown = false;             // neighbouring unknowns become one
  bool byte_fallback = false;            // an unknown character becomes its bytes' tokens <0x..>, where there are all
  bool ignore_merges = false;            // a word that is a token is that token, whatever the merges say
  std::string continuing_prefix, end_suffix;  // written on a word's later characters, and on its last
};

class BpeModel : public TokenModel {
 public:
  BpeModel(Vocabulary vocabulary, BpeMerges merges, BpeOptions options);
  void append_ids(std::string_view word, std::vector<int32_t>& ids) const override;

 private:
  void append_symbols(std::string_view word, std::vector<int32_t>& symbols) const;
  std::optional<int32_t> symbol_of(std::string_view character, uint32_t code_point, bool first, bool last) const;

  BpeMerges merges_;
  BpeOptions options_;
  bool plain_;                                          // no prefix or suffix: a character's id is the same everywhere
  std::array<int32_t, 0x400> small_code_points_;        // ids of characters below U+0400, -1: none; used where plain_
  std::array<std::optional<int32_t>, 256> byte_tokens_;  // <0x00> to <0xFF>
};

std::unique_ptr<TokenModel> make_bpe_model(const JsonField& field);

}  // namespace nemo::huggingface
