// How norm kernels share a row out among threads: which threads, which columns, and the sum over them.
// Not here: the norms.
#pragma once
#include "kernels/base/cuda_check.h"
#include "kernels/base/cuda_stream.h"
#include "kernels/base/pack.cuh"

namespace nemo::kernels {

// A row belongs to kThreads threads: a warp (four rows a block) or a whole block. Each thread holds kPacks packs of it in
// registers between passes; kPacks = 0 is the slow way for any width and alignment, which reads elements again.
template <int kThreads, int kPacks>
struct RowWork {
  static constexpr int kRowsPerBlock = kThreads == 32 ? 4 : 1;
  static constexpr int kBlockThreads = kThreads * kRowsPerBlock;
  static constexpr bool kHeld = kPacks > 0;
  static constexpr int kSlots = kHeld ? kPacks : 1;       // register arrays are [kSlots][kWidth]
  static constexpr int kWidth = kHeld ? kPackSize : 1;

  static dim3 block() { return dim3(kThreads, kRowsPerBlock); }
  static dim3 grid(int64_t rows) { return dim3(static_cast<unsigned>((rows + kRowsPerBlock - 1) / kRowsPerBlock)); }
  // The same for all threads of a row; rows past the end have threads in the last block, which leave at once.
  static __device__ int64_t row() { return static_cast<int64_t>(blockIdx.x) * kRowsPerBlock + threadIdx.y; }

  // visit(slot, column) for each of this thread's columns, in order.
  template <class Visit>
  static __device__ void for_columns(int64_t hidden, const Visit& visit) {
    if constexpr (kHeld) {
#pragma unroll
      for (int slot = 0; slot < kPacks; ++slot) {
        const int64_t column = (slot * kThreads + static_cast<int>(threadIdx.x)) * kPackSize;
        if (column < hidden) visit(slot, column);
      }
    } else {
      for (int64_t column = threadIdx.x; column < hidden; column += kThreads) visit(0, column);
    }
  }

  // The sum over the row's threads, the same bits in each. Every thread of the row must call it.
  static __device__ float sum(float value) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
    if constexpr (kThreads > 32) {
      __shared__ float warp_sums[kThreads / 32];
      __syncthreads();  // the sum before this one has been read
      if (threadIdx.x % 32 == 0) warp_sums[threadIdx.x / 32] = value;
      __syncthreads();
      value = 0;
#pragma unroll
      for (int warp = 0; warp < kThreads / 32; ++warp) value += warp_sums[warp];
    }
    return value;
  }
};

// Calls launch.operator()<RowWork<..>>() for the narrowest work that fits the row.
template <class Launch>
void for_row_width(int64_t hidden, bool packed, const Launch& launch) {
  if (!packed || hidden > 16384) return launch.template operator()<RowWork<256, 0>>();
  if (hidden <= 256) return launch.template operator()<RowWork<32, 1>>();
  if (hidden <= 1024) return launch.template operator()<RowWork<32, 4>>();
  if (hidden <= 2048) return launch.template operator()<RowWork<256, 1>>();
  if (hidden <= 8192) return launch.template operator()<RowWork<256, 4>>();
  return launch.template operator()<RowWork<1024, 2>>();
}

}  // namespace nemo::kernels
