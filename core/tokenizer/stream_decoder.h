// Text of a growing list of ids, piece by piece, as generation shows it. Choosing the ids is not done here.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "core/tokenizer/tokenizer.h"

namespace nemo {

// The pieces, joined, are the bytes of decoding all ids at once. A piece never ends inside a UTF-8 character.
class StreamDecoder {
 public:
  StreamDecoder(const Tokenizer& tokenizer, bool skip_special) : tokenizer_(tokenizer), skip_special_(skip_special) {}

  std::string push(int32_t id);  // what this id completed, often nothing inside a multi-byte character
  std::string finish();          // what was held back, as it is

 private:
  std::string advance(bool hold_incomplete);

  const Tokenizer& tokenizer_;
  bool skip_special_;
  std::vector<int32_t> window_;  // ids since the last clean cut, and one cut's ids before it for the decoder's context
  size_t num_context_ = 0;       // ids at the front of window_ whose text has been given out
};

}  // namespace nemo
