#include "core/tokenizer/stream_decoder.h"

#include "core/tokenizer/utf8.h"

namespace nemo {

std::string StreamDecoder::push(int32_t id) {
  window_.push_back(id);
  return advance(true);
}

std::string StreamDecoder::finish() { return advance(false); }

std::string StreamDecoder::advance(bool hold_incomplete) {
  // Decoders look at neighbours (a leading space is dropped only at the very start), so the new ids are decoded
  // after the ids shown last, and the part those account for is taken off.
  const std::span<const int32_t> ids(window_);
  const std::string shown = tokenizer_.decode(ids.first(num_context_), skip_special_);
  const std::string all = tokenizer_.decode(ids, skip_special_);
  if (all.size() < shown.size() || (hold_incomplete && complete_utf8_prefix(all) != all.size())) return {};
  std::string piece = all.substr(shown.size());
  if (piece.empty()) return piece;
  window_.erase(window_.begin(), window_.begin() + static_cast<int64_t>(num_context_));
  num_context_ = window_.size();
  return piece;
}

}  // namespace nemo
