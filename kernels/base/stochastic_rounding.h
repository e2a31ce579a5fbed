// Rounding to bf16 upwards or downwards by a draw, so that the mean of many roundings is the value itself.
// Not here: who draws and under which key (kernels/optimizer).
#pragma once
#include <bit>
#include <cstdint>

#include "kernels/base/dtype.h"
#include "kernels/base/philox.h"

namespace nemo::kernels {

// One draw serves eight places, each 16 of its 128 bits, and at each place several numbers. Number `which` takes its bits
// from the draw's words times an odd factor, which maps words onto words one to one: so each number has uniform bits, and
// each rounding keeps its mean, whatever the roundings of the other numbers at that place are.
inline constexpr int kRoundingsPerDraw = 8;
NEMO_HOST_DEVICE inline Philox4 draw_of(const Philox4& draw, int which) {
  const uint32_t factor = which == 0 ? 1u : which == 1 ? 0x9E3779B1u : 0x85EBCA77u;
  return {draw.x * factor, draw.y * factor, draw.z * factor, draw.w * factor};
}
NEMO_HOST_DEVICE inline uint32_t rounding_bits(const Philox4& draw, int place) {
  const uint32_t word = place < 4 ? (place < 2 ? draw.x : draw.y) : (place < 6 ? draw.z : draw.w);
  return place % 2 == 0 ? word & 0xffffu : word >> 16;
}

// Adds 16 random bits below bf16's last place and truncates. What is not finite stays so.
NEMO_HOST_DEVICE inline bf16 stochastically_rounded(float value, uint32_t random16) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7f800000u) == 0x7f800000u) return bf16(value);
  bf16 result;
  result.bits = static_cast<uint16_t>((bits + random16) >> 16);
  return result;
}

}  // namespace nemo::kernels
