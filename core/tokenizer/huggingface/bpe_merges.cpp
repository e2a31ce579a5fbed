#include "core/tokenizer/huggingface/bpe_merges.h"

#include <bit>

namespace nemo::huggingface {

BpeMerges::BpeMerges(size_t num_merges) : slots_(std::bit_ceil(2 * num_merges + 2)), mask_(slots_.size() - 1) {}

bool BpeMerges::add(int32_t left, int32_t right, Merge merge) {
  const uint64_t key = key_of(left, right);
  size_t slot = hash(key) & mask_;
  for (; slots_[slot].key != kEmpty; slot = (slot + 1) & mask_) {
    if (slots_[slot].key == key) return false;
  }
  slots_[slot] = {key, merge};
  return true;
}

}  // namespace nemo::huggingface
