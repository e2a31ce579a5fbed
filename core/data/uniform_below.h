// Whole numbers below a bound from random bits. The bits come from kernels/base/philox.h.
#pragma once
#include <cstdint>

namespace nemo {

// Uniform in [0, count) from 64 random bits: the high word of a 128-bit product, biased by less than count / 2^64.
inline uint64_t uniform_below(uint32_t high, uint32_t low, uint64_t count) {
  return static_cast<uint64_t>((static_cast<unsigned __int128>(uint64_t{high} << 32 | low) * count) >> 64);
}

}  // namespace nemo
