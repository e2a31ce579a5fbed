// One id a byte, and id 256 for the end of a document. Files on disk are not read here.
#pragma once
#include "core/tokenizer/tokenizer.h"

namespace nemo {

class ByteTokenizer : public Tokenizer {
 public:
  std::vector<int32_t> encode(std::string_view text, bool add_special) const override;
  std::string decode(std::span<const int32_t> ids, bool skip_special) const override;
  int64_t vocab_size() const override { return 257; }
  std::optional<int32_t> eos() const override { return 256; }
  std::optional<int32_t> token_id(std::string_view token) const override;
};

}  // namespace nemo
