// Magnitudes taken by the kernel that writes a tensor, so that quantising need not read it first: device side.
// Not here: the pass of its own (quantise_cuda.cu), whose parts these are.
#pragma once
#include "kernels/base/cuda_check.h"
#include "kernels/base/pack.cuh"
#include "kernels/quantise/quantise.h"

namespace nemo::kernels {

// The largest magnitude among values as bits, which order like the numbers, NaN above infinity.
template <int N>
__device__ inline uint32_t largest_magnitude(const float (&values)[N]) {
  uint32_t largest = 0;
#pragma unroll
  for (int i = 0; i < N; ++i) largest = max(largest, __float_as_uint(values[i]) & 0x7fffffffu);
  return largest;
}

// Raises a part to `largest` as stored in T. Whichever lanes come together share one atomic; a maximum of integers does
// not depend on the order, so the parts' bits do not vary.
template <class T>
__device__ inline void collect_amax(float* parts, uint32_t largest) {
  const unsigned lanes = __activemask();
  largest = __reduce_max_sync(lanes, largest);
  if ((threadIdx.x + threadIdx.y * blockDim.x) % 32 != __ffs(static_cast<int>(lanes)) - 1) return;
  const uint32_t stored = __float_as_uint(rounded<T>(__uint_as_float(largest)));
  auto* part = reinterpret_cast<unsigned*>(parts) + (blockIdx.x + blockIdx.y * gridDim.x) % kAmaxParts;
  if (stored > *static_cast<volatile unsigned*>(part)) atomicMax(part, stored);
}

// A body of kernels/base/pointwise.cuh whose at() returns largest_magnitude() of what it stored as T.
template <class T, class Body>
struct CollectAmax {
  Body body;
  float* parts;
  template <int N>
  __device__ void at(int64_t index) const {
    collect_amax<T>(parts, body.template at<N>(index));
  }
  template <int N>
  __device__ void at(int64_t row, int64_t column) const {
    collect_amax<T>(parts, body.template at<N>(row, column));
  }
};

// Host side, before a kernel that collects.
inline void clear_amax(float* parts, cudaStream_t stream) {
  cuda_check(cudaMemsetAsync(parts, 0, kAmaxParts * sizeof(float), stream), "cudaMemsetAsync");
}

}  // namespace nemo::kernels
