// Names of places that draw random numbers, as the `site` of a Philox key. The generator: kernels/base/philox.h.
#pragma once
#include <cstdint>
#include <string_view>

namespace nemo {

// FNV-1a, 64 bits (Fowler, Noll, Vo).
constexpr uint64_t random_site(std::string_view name) {
  uint64_t hash = 0xCBF29CE484222325ull;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ull;
  return hash;
}

// Uniform in [0, count) from 64 random bits: the high word of a 128-bit product, biased by less than count / 2^64.
inline uint64_t uniform_below(uint32_t high, uint32_t low, uint64_t count) {
  return static_cast<uint64_t>((static_cast<unsigned __int128>(uint64_t{high} << 32 | low) * count) >> 64);
}

}  // namespace nemo
