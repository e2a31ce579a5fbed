// Element types that kernels compute on: tags, sizes, and the 16-bit floats as storage types with exact conversions.
// Not here: tensors (core/tensor.h), the 8-bit floats of quantised tensors (kernels/base/fp8.h).
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#if defined(__CUDACC__)
#define NEMO_HOST_DEVICE __host__ __device__
#else
#define NEMO_HOST_DEVICE
#endif

namespace nemo {

enum class DType : uint8_t { fp32, bf16, fp16, fp64, int8, uint8, int16, uint16, int32, int64, boolean, fp8_e4m3, fp8_e5m2 };

// Round to nearest even, NaN kept quiet.
struct bf16 {
  uint16_t bits = 0;
  bf16() = default;
  NEMO_HOST_DEVICE explicit bf16(float value) {
    uint32_t u = std::bit_cast<uint32_t>(value);
    bits = (u & 0x7fffffffu) > 0x7f800000u ? static_cast<uint16_t>((u >> 16) | 0x40u)
                                           : static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
  NEMO_HOST_DEVICE operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};

// IEEE binary16, used by files (checkpoint import and export); kernels do not compute in it.
struct fp16 {
  uint16_t bits = 0;
  fp16() = default;
  explicit fp16(float value);
  operator float() const;
};

size_t size_bytes(DType dtype);
std::string_view name(DType dtype);  // "fp32", "bf16", ...

template <class T> inline constexpr DType dtype_of = DType::fp32;
template <> inline constexpr DType dtype_of<bf16> = DType::bf16;
template <> inline constexpr DType dtype_of<fp16> = DType::fp16;
template <> inline constexpr DType dtype_of<double> = DType::fp64;
template <> inline constexpr DType dtype_of<int8_t> = DType::int8;
template <> inline constexpr DType dtype_of<uint8_t> = DType::uint8;
template <> inline constexpr DType dtype_of<int16_t> = DType::int16;
template <> inline constexpr DType dtype_of<uint16_t> = DType::uint16;
template <> inline constexpr DType dtype_of<int32_t> = DType::int32;
template <> inline constexpr DType dtype_of<int64_t> = DType::int64;
template <> inline constexpr DType dtype_of<bool> = DType::boolean;

}  // namespace nemo
