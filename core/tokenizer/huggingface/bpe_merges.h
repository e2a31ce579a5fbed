// Which pairs of tokens byte-pair encoding joins, and in which order. The encoding itself: bpe_model.h.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace nemo::huggingface {

struct Merge {
  int32_t rank, joined;  // lower ranks are joined first
};

// A hash table of (left id, right id), open addressing: one look-up is one cache line most times.
class BpeMerges {
 public:
  explicit BpeMerges(size_t num_merges);
  bool add(int32_t left, int32_t right, Merge merge);  // false when the pair is there already

  const Merge* find(int32_t left, int32_t right) const {  // null: never joined
    const uint64_t key = key_of(left, right);
    for (size_t slot = hash(key) & mask_;; slot = (slot + 1) & mask_) {
      if (slots_[slot].key == key) return &slots_[slot].merge;
      if (slots_[slot].key == kEmpty) return nullptr;
    }
  }

 private:
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  struct Slot {
    uint64_t key = kEmpty;
    Merge merge{};
  };
  static uint64_t key_of(int32_t left, int32_t right) { return uint64_t(uint32_t(left)) << 32 | uint32_t(right); }
  static size_t hash(uint64_t key) { return static_cast<size_t>((key * 0x9E3779B97F4A7C15ull) >> 20); }

  std::vector<Slot> slots_;  // a power of two, at most half full
  size_t mask_;
};

}  // namespace nemo::huggingface
