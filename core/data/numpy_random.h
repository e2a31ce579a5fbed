// numpy's legacy RandomState, as far as Megatron's sample order needs it: the shuffle. Everything else draws by Philox.
#pragma once
#include <cstdint>
#include <random>
#include <span>
#include <utility>

namespace nemo {

// RandomState(seed) is MT19937 seeded by Knuth's generator, which is std::mt19937(seed) to the bit.
class NumpyRandomState {
 public:
  explicit NumpyRandomState(uint32_t seed) : generator_(seed) {}

  // RandomState.shuffle of a one-dimensional array: Fisher-Yates from the end.
  template <class T>
  void shuffle(std::span<T> values) {
    for (uint64_t i = values.size(); i-- > 1;) std::swap(values[i], values[interval(i)]);
  }

 private:
  // Uniform in [0, max] by masked rejection; 64-bit draws take the high word first.
  uint64_t interval(uint64_t max) {
    uint64_t mask = max;
    for (int shift = 1; shift < 64; shift *= 2) mask |= mask >> shift;
    while (true) {
      const uint64_t high = max > 0xFFFFFFFFu ? uint64_t{generator_()} << 32 : 0;
      const uint64_t value = (high | generator_()) & mask;
      if (value <= max) return value;
    }
  }

  std::mt19937 generator_;
};

}  // namespace nemo
