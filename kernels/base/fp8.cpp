#include "kernels/base/fp8.h"

#include <cmath>

namespace nemo {
namespace {

template <class Float>
uint8_t narrowed(float value) {
  const uint32_t u = std::bit_cast<uint32_t>(value), magnitude = u & 0x7fffffffu;
  const uint8_t sign = static_cast<uint8_t>((u >> 24) & 0x80u);
  if (magnitude > 0x7f800000u) return 0x7f;
  constexpr int kShift = 23 - Float::kFractionBits;
  constexpr uint32_t kRebias = static_cast<uint32_t>(127 - Float::kBias) << 23;
  uint32_t code;
  if (magnitude >= kRebias + (1u << 23)) {  // normal
    const uint32_t rounded = magnitude + (1u << (kShift - 1)) - 1 + ((magnitude >> kShift) & 1u);
    code = (rounded - kRebias) >> kShift;
  } else {  // subnormal or zero: adding this number puts the rounding point of Float's last place at fp32's
    const float aligner = std::bit_cast<float>(static_cast<uint32_t>(127 + 1 - Float::kBias + kShift) << 23);
    code = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + aligner) - std::bit_cast<uint32_t>(aligner);
  }
  return static_cast<uint8_t>(sign | (code > Float::kLargest ? Float::kLargest : code));
}

template <class Float>
float widened(uint8_t bits) {
  const uint32_t exponent = (bits & 0x7fu) >> Float::kFractionBits,
                 fraction = bits & ((1u << Float::kFractionBits) - 1);
  const float magnitude =
      exponent == 0
          ? std::ldexp(static_cast<float>(fraction), 1 - Float::kBias - Float::kFractionBits)
          : std::bit_cast<float>(((exponent + 127 - Float::kBias) << 23) | (fraction << (23 - Float::kFractionBits)));
  return (bits & 0x80u) != 0 ? -magnitude : magnitude;
}

}  // namespace

fp8_e4m3::fp8_e4m3(float value) : bits(narrowed<fp8_e4m3>(value)) {}
fp8_e4m3::operator float() const {
  return (bits & 0x7fu) == 0x7fu ? NAN : widened<fp8_e4m3>(bits);
}

fp8_e5m2::fp8_e5m2(float value) : bits(narrowed<fp8_e5m2>(value)) {}
fp8_e5m2::operator float() const {
  if ((bits & 0x7fu) > 0x7cu) return NAN;
  if ((bits & 0x7fu) == 0x7cu) return (bits & 0x80u) != 0 ? -INFINITY : INFINITY;
  return widened<fp8_e5m2>(bits);
}

}  // namespace nemo
