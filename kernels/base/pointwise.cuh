// Launch shapes of pointwise kernels: a flat array, and rows by columns. The body says what happens to N elements at once.
// Not here: reductions.
#pragma once
#include <algorithm>

#include "kernels/base/cuda_check.h"
#include "kernels/base/cuda_stream.h"
#include "kernels/base/pack.cuh"

namespace nemo::kernels {

inline constexpr int kPointwiseThreads = 256;

// Body: template <int N> __device__ void at(int64_t index) const, on elements [index, index + N).
template <class Body>
__global__ void __launch_bounds__(kPointwiseThreads) flat_kernel(int64_t packed_count, int64_t count, Body body) {
  const int64_t first = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = first * kPackSize; i < packed_count; i += step * kPackSize) body.template at<kPackSize>(i);
  for (int64_t i = packed_count + first; i < count; i += step) body.template at<1>(i);
}

// `aligned`: every array of the body starts on 16 bytes; else elements go one at a time.
template <class Body>
void launch_flat(const char* name, int64_t count, bool aligned, const Body& body, cudaStream_t stream) {
  if (count == 0) return;
  const int64_t packed_count = aligned ? count / kPackSize * kPackSize : 0;
  const int64_t work = aligned ? packed_count / kPackSize + count % kPackSize : count;
  const int64_t blocks = std::min<int64_t>((work + kPointwiseThreads - 1) / kPointwiseThreads, int64_t{1} << 30);
  flat_kernel<<<static_cast<unsigned>(blocks), kPointwiseThreads, 0, stream>>>(packed_count, count, body);
  check_launch(name);
}

// Body: template <int N> __device__ void at(int64_t row, int64_t column) const, on columns [column, column + N) of the row.
// A block is blockDim.x column steps by blockDim.y rows.
template <int N, class Body>
__global__ void __launch_bounds__(kPointwiseThreads) rows_kernel(int64_t rows, int64_t columns, Body body) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  if (row >= rows) return;
  const int64_t step = static_cast<int64_t>(gridDim.y) * blockDim.x * N;
  int64_t column = (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * N;
  for (; column < columns; column += step) body.template at<N>(row, column);
}

// `aligned`: every row of every array of the body starts on 16 bytes, and columns is a multiple of kPackSize.
template <class Body>
void launch_rows(const char* name, int64_t rows, int64_t columns, bool aligned, const Body& body, cudaStream_t stream) {
  if (rows == 0 || columns == 0) return;
  const int64_t steps = aligned ? columns / kPackSize : columns;
  unsigned width = 32;
  while (width < static_cast<unsigned>(kPointwiseThreads) && width < steps) width *= 2;
  const dim3 block(width, kPointwiseThreads / width);
  const dim3 grid(static_cast<unsigned>((rows + block.y - 1) / block.y),
                  static_cast<unsigned>(std::min<int64_t>((steps + width - 1) / width, 65535)));
  if (aligned) {
    rows_kernel<kPackSize><<<grid, block, 0, stream>>>(rows, columns, body);
  } else {
    rows_kernel<1><<<grid, block, 0, stream>>>(rows, columns, body);
  }
  check_launch(name);
}

}  // namespace nemo::kernels
