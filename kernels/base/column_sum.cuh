// Sums over rows for each column, in two launches and a fixed order: row blocks into scratch, then the blocks in order.
// Bits depend on the shape alone. Not here: what a term is (the kernel that sums says).
#pragma once
#include <cstdint>

#include "kernels/base/cuda_check.h"
#include "kernels/base/cuda_stream.h"
#include "kernels/base/pack.cuh"

namespace nemo::kernels {

struct ColumnSumShape { int64_t rows, columns, max_row_blocks; };

inline constexpr int kColumnSumWidth = 32, kColumnSumDepth = 8;  // a block: 32 column steps by 8 interleaved rows

// partial[output][row block][column] = sum of the term over the block's rows.
// Term: kOutputs, template <int N> __device__ void add(float (&sum)[kOutputs][N], int64_t row, int64_t column) const.
template <int N, class Term>
__global__ void __launch_bounds__(kColumnSumWidth* kColumnSumDepth)
    row_block_sums_kernel(float* partial, int64_t rows, int64_t columns, int64_t rows_per_block, Term term) {
  constexpr int kOutputs = Term::kOutputs;
  // The last index is padded so that the lanes of a warp, one column step each, start in different banks.
  __shared__ float shared[kOutputs][kColumnSumDepth][kColumnSumWidth][N + 1];
  const int64_t column = (static_cast<int64_t>(blockIdx.x) * kColumnSumWidth + threadIdx.x) * N;
  const int64_t begin = static_cast<int64_t>(blockIdx.y) * rows_per_block;
  const int64_t end = begin + rows_per_block < rows ? begin + rows_per_block : rows;
  float sum[kOutputs][N] = {};
  if (column < columns) {
#pragma unroll 4
    for (int64_t row = begin + threadIdx.y; row < end; row += kColumnSumDepth) term.template add<N>(sum, row, column);
  }
#pragma unroll
  for (int output = 0; output < kOutputs; ++output) {
#pragma unroll
    for (int j = 0; j < N; ++j) shared[output][threadIdx.y][threadIdx.x][j] = sum[output][j];
  }
  __syncthreads();
  if (threadIdx.y != 0 || column >= columns) return;
#pragma unroll
  for (int output = 0; output < kOutputs; ++output) {
    float* target = partial + (output * static_cast<int64_t>(gridDim.y) + blockIdx.y) * columns + column;
#pragma unroll
    for (int j = 0; j < N; ++j) {
      float total = 0;
      for (int depth = 0; depth < kColumnSumDepth; ++depth) total += shared[output][depth][threadIdx.x][j];
      target[j] = total;
    }
  }
}

// Where the sums of one output go; null: not wanted.
template <class Grad>
struct ColumnOutput {
  Grad* sums;
  bool accumulate;
};
template <class Grad, int kOutputs>
struct ColumnOutputs { ColumnOutput<Grad> of[kOutputs]; };

// sums[column] (+)= sum over row blocks of partial[output][block][column]; blockIdx.y is the output.
inline constexpr int kAddDepth = 32;  // row blocks that are added side by side
template <class Grad, int kOutputs>
__global__ void __launch_bounds__(kColumnSumWidth* kAddDepth)
    add_row_blocks_kernel(ColumnOutputs<Grad, kOutputs> outputs, const float* partial, int64_t columns, int num_blocks) {
  __shared__ float shared[kAddDepth][kColumnSumWidth + 1];
  const ColumnOutput<Grad> output = outputs.of[blockIdx.y];
  if (!output.sums) return;
  partial += static_cast<int64_t>(blockIdx.y) * num_blocks * columns;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kColumnSumWidth + threadIdx.x;
  float sum = 0;
  if (column < columns) {
#pragma unroll 8
    for (int block = threadIdx.y; block < num_blocks; block += kAddDepth) sum += partial[block * columns + column];
  }
  shared[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= columns) return;
  float total = output.accumulate ? static_cast<float>(output.sums[column]) : 0.0f;
  for (int depth = 0; depth < kAddDepth; ++depth) total += shared[depth][threadIdx.x];
  output.sums[column] = narrowed<Grad>(total);
}

// The second launch alone: partial [kOutputs][num_blocks][columns].
template <class Grad, int kOutputs>
void add_row_blocks(const char* name, const ColumnOutputs<Grad, kOutputs>& outputs, const float* partial, int64_t columns,
                    int num_blocks, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>((columns + kColumnSumWidth - 1) / kColumnSumWidth), kOutputs);
  add_row_blocks_kernel<<<grid, dim3(kColumnSumWidth, kAddDepth), 0, stream>>>(outputs, partial, columns, num_blocks);
  check_launch(name);
}

// scratch: fp32 [kOutputs * max_row_blocks * columns].
// `aligned`: the rows of the term's arrays start on 16 bytes; columns that are no multiple of kPackSize go one at a time.
template <class Grad, class Term>
void column_sums(const char* name, const ColumnOutputs<Grad, Term::kOutputs>& outputs, const Term& term, const ColumnSumShape& shape,
                 bool aligned, float* scratch, cudaStream_t stream) {
  if (shape.columns == 0) return;
  const int64_t rows_per_block = (shape.rows + shape.max_row_blocks - 1) / shape.max_row_blocks;
  const int64_t num_blocks = rows_per_block == 0 ? 0 : (shape.rows + rows_per_block - 1) / rows_per_block;
  const dim3 block(kColumnSumWidth, kColumnSumDepth);
  if (num_blocks > 0) {
    const bool packed = aligned && pack_stride(shape.columns);
    const int64_t steps = packed ? shape.columns / kPackSize : shape.columns;
    const dim3 grid(static_cast<unsigned>((steps + kColumnSumWidth - 1) / kColumnSumWidth), static_cast<unsigned>(num_blocks));
    if (packed) {
      row_block_sums_kernel<kPackSize><<<grid, block, 0, stream>>>(scratch, shape.rows, shape.columns, rows_per_block, term);
    } else {
      row_block_sums_kernel<1><<<grid, block, 0, stream>>>(scratch, shape.rows, shape.columns, rows_per_block, term);
    }
    check_launch(name);
  }
  add_row_blocks(name, outputs, scratch, shape.columns, static_cast<int>(num_blocks), stream);
}

}  // namespace nemo::kernels
