// Device-side loads and stores of several consecutive elements, converted to and from fp32.
// Not here: launching (kernels/base/pointwise.cuh).
#pragma once
#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/base/dtype.h"

namespace nemo::kernels {

// Elements that one thread moves at a time: 16 bytes of bf16, twice 16 bytes of fp32. The same for every type, so that
// a kernel that mixes types walks them in step.
inline constexpr int kPackSize = 8;

template <class T>
__device__ inline T narrowed(float value) {
  if constexpr (sizeof(T) == 4) {
    return value;
  } else {
    T result;
    result.bits = __bfloat16_as_ushort(__float2bfloat16_rn(value));  // one instruction where bf16's own constructor takes six
    return result;
  }
}

// N is 1 (any alignment), kPackSize (16-byte aligned), or kPackSize / 2, where fp32 dominates: 16 bytes of it, and 8 of bf16.
template <int N, class T>
__device__ inline void load(float (&to)[N], const T* from) {
  static_assert(N == 1 || N == kPackSize / 2 || N == kPackSize);
  if constexpr (N == 1) {
    to[0] = static_cast<float>(from[0]);
  } else if constexpr (N == kPackSize / 2 && sizeof(T) == 4) {
    const float4 raw = *reinterpret_cast<const float4*>(from);
    to[0] = raw.x, to[1] = raw.y, to[2] = raw.z, to[3] = raw.w;
  } else if constexpr (N == kPackSize / 2) {
    const uint2 raw = *reinterpret_cast<const uint2*>(from);
    to[0] = __uint_as_float(raw.x << 16), to[1] = __uint_as_float(raw.x & 0xffff0000u);
    to[2] = __uint_as_float(raw.y << 16), to[3] = __uint_as_float(raw.y & 0xffff0000u);
  } else if constexpr (sizeof(T) == 4) {
    const float4 low = *reinterpret_cast<const float4*>(from), high = *reinterpret_cast<const float4*>(from + 4);
    to[0] = low.x, to[1] = low.y, to[2] = low.z, to[3] = low.w;
    to[4] = high.x, to[5] = high.y, to[6] = high.z, to[7] = high.w;
  } else {
    const uint4 raw = *reinterpret_cast<const uint4*>(from);
    const uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      to[2 * i] = __uint_as_float(words[i] << 16);
      to[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
    }
  }
}

template <int N, class T>
__device__ inline void store(T* to, const float (&from)[N]) {
  static_assert(N == 1 || N == kPackSize / 2 || N == kPackSize);
  if constexpr (N == 1) {
    to[0] = narrowed<T>(from[0]);
  } else if constexpr (N == kPackSize / 2 && sizeof(T) == 4) {
    *reinterpret_cast<float4*>(to) = make_float4(from[0], from[1], from[2], from[3]);
  } else if constexpr (sizeof(T) == 4) {
    *reinterpret_cast<float4*>(to) = make_float4(from[0], from[1], from[2], from[3]);
    *reinterpret_cast<float4*>(to + 4) = make_float4(from[4], from[5], from[6], from[7]);
  } else {
    uint32_t words[N / 2];
#pragma unroll
    for (int i = 0; i < N / 2; ++i) {
      const __nv_bfloat162 pair = __floats2bfloat162_rn(from[2 * i], from[2 * i + 1]);  // the first in the low half
      words[i] = *reinterpret_cast<const uint32_t*>(&pair);
    }
    if constexpr (N == kPackSize) {
      *reinterpret_cast<uint4*>(to) = make_uint4(words[0], words[1], words[2], words[3]);
    } else {
      *reinterpret_cast<uint2*>(to) = make_uint2(words[0], words[1]);
    }
  }
}

// What the element becomes when stored as T.
template <class T>
__device__ inline float rounded(float value) {
  return static_cast<float>(narrowed<T>(value));
}

// Host side: may packs be used at this address (null counts as yes: it is not read) and with this row stride?
inline bool pack_aligned(const void* address) { return reinterpret_cast<uintptr_t>(address) % 16 == 0; }
inline bool pack_stride(int64_t elements) { return elements % kPackSize == 0; }

}  // namespace nemo::kernels
