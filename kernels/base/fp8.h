// The 8-bit floats of quantised tensors as storage types, and the scale that fits a tensor to one.
// Micikevicius et al. 2022, arXiv:2209.05433.  Not here: quantising arrays (kernels/quantise).
#pragma once
#include <bit>
#include <cstdint>
#include <type_traits>

#include "kernels/base/dtype.h"

namespace nemo {

// 4 exponent bits, 3 of fraction, bias 7: largest 448, smallest 2^-9, no infinity, NaN 0x7f. Weights and activations.
// Round to nearest even; what lies beyond the largest becomes it, infinity too; NaN stays NaN.
struct fp8_e4m3 {
  static constexpr int kFractionBits = 3, kBias = 7;
  static constexpr uint8_t kLargest = 0x7e;
  uint8_t bits = 0;
  fp8_e4m3() = default;
  explicit fp8_e4m3(float value);
  operator float() const;
};

// 5 exponent bits, 2 of fraction, bias 15: largest 57344, smallest 2^-16. Gradients. Infinity is never written.
struct fp8_e5m2 {
  static constexpr int kFractionBits = 2, kBias = 15;
  static constexpr uint8_t kLargest = 0x7b;
  uint8_t bits = 0;
  fp8_e5m2() = default;
  explicit fp8_e5m2(float value);
  operator float() const;
};

template <>
inline constexpr DType dtype_of<fp8_e4m3> = DType::fp8_e4m3;
template <>
inline constexpr DType dtype_of<fp8_e5m2> = DType::fp8_e5m2;

// How a tensor is multiplied on its way in (multiplier) and out (scale) of an 8-bit float. Both are powers of two, so
// scaling rounds nothing and both directions are exact: on a floating grid a finer scale would gain no precision.
struct Fp8Scale {
  float multiplier, scale;
};

// The largest power of two under which amax, the largest magnitude of the tensor, does not pass Float's largest number:
// 1.75 * 2^8 or 1.75 * 2^15. Of zeros: 1. Of a tensor that is not finite: scale NaN, so that every product with it is
// NaN.
template <class Float>
NEMO_HOST_DEVICE inline Fp8Scale fp8_scale(float amax) {
  const uint32_t bits = std::bit_cast<uint32_t>(amax);
  if (bits == 0) return {1.0f, 1.0f};
  if (bits >= 0x7f800000u) return {1.0f, std::bit_cast<float>(0x7fc00000u)};
  constexpr int kLargestExponent = std::is_same_v<Float, fp8_e4m3> ? 8 : 15;
  const int room = (bits & 0x7fffffu) <= 0x600000u ? kLargestExponent : kLargestExponent - 1;
  int exponent = room - (static_cast<int>(bits >> 23) - 127);
  if (exponent > 126) exponent = 126;  // its inverse is still a normal number
  return {std::bit_cast<float>(static_cast<uint32_t>(127 + exponent) << 23),
          std::bit_cast<float>(static_cast<uint32_t>(127 - exponent) << 23)};
}

}  // namespace nemo
