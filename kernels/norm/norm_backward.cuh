// The backward of both norms: input gradient and the weight's (and bias's) in one walk over the rows, or either alone.
// Not here: the formulas' sources (rms_norm.h, layer_norm.h), the forward.
#pragma once
#include <algorithm>

#include "kernels/base/column_sum.cuh"
#include "kernels/base/pack.cuh"
#include "kernels/norm/rms_norm.h"

namespace nemo::kernels {

// mean is null for the root-mean-square norm. Strides of `size` are filled in.
template <class T>
struct NormBackward {
  T* dx;
  const T *dy, *dsum, *s;
  const float *mean, *rstd;
  const T* weight;
  RmsNormSize size;
  float* partial;  // [weight, bias if centered][block][hidden]: sums over a block's rows
};

// Where row r (head r % heads of token r / heads) starts in an array whose tokens are `stride` apart.
__device__ inline int64_t row_start(const RmsNormSize& size, int64_t row, int64_t stride) {
  if (size.heads == 1) return row * stride;
  const int64_t token = row / size.heads;
  return token * stride + (row - token * size.heads) * size.hidden;
}

// A pack as it lies in memory: asked for early, converted late.
template <class T>
struct RawPack {
  static constexpr int kAccesses = kPackSize * sizeof(T) / sizeof(uint4);
  uint4 raw[kAccesses];
  __device__ void fetch(const T* from) {
#pragma unroll
    for (int i = 0; i < kAccesses; ++i) raw[i] = reinterpret_cast<const uint4*>(from)[i];
  }
  __device__ void widen(float (&to)[kPackSize]) const { load(to, reinterpret_cast<const T*>(raw)); }
};

// Sums of both values over the blockDim.x threads of a row, the same bits in each. One barrier: the shared array alternates,
// and who writes a half again has passed the barrier that all its readers had reached. Every thread of the block must call it.
__device__ inline float2 row_sums(float2 value, float2 (*shared)[32], int half) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    value.x += __shfl_xor_sync(0xffffffffu, value.x, distance);
    value.y += __shfl_xor_sync(0xffffffffu, value.y, distance);
  }
  if (blockDim.x == 32) return value;
  const int warps = blockDim.x / 32, first = threadIdx.y * warps;
  if (threadIdx.x % 32 == 0) shared[half][first + threadIdx.x / 32] = value;
  __syncthreads();
  value = shared[half][first];
  for (int warp = 1; warp < warps; ++warp) {
    value.x += shared[half][first + warp].x;
    value.y += shared[half][first + warp].y;
  }
  return value;
}

// Adds the block's rows of the same column, in the order of threadIdx.y, and writes them to the block's place in `partial`.
template <int kOutputs, class T>
__device__ inline void write_block_sums(const NormBackward<T>& a, float (&added)[kOutputs][kPackSize]) {
  __shared__ float shared[256 * kPackSize];
  const int64_t column = static_cast<int64_t>(threadIdx.x) * kPackSize;
#pragma unroll
  for (int output = 0; output < kOutputs; ++output) {
    if (blockDim.y > 1) {
      __syncthreads();
      float* const place = shared + (threadIdx.y * blockDim.x + threadIdx.x) * kPackSize;
#pragma unroll
      for (int j = 0; j < kPackSize; ++j) place[j] = added[output][j];
      __syncthreads();
      if (threadIdx.y == 0) {
        for (int y = 1; y < static_cast<int>(blockDim.y); ++y) {
#pragma unroll
          for (int j = 0; j < kPackSize; ++j) added[output][j] += shared[(y * blockDim.x + threadIdx.x) * kPackSize + j];
        }
      }
    }
    if (threadIdx.y == 0 && column < a.size.hidden) {
      store(a.partial + (output * static_cast<int64_t>(gridDim.x) + blockIdx.x) * a.size.hidden + column, added[output]);
    }
  }
}

// blockDim.x threads to a row, a pack each; blockDim.y rows at a time; a block walks its rows by gridDim.x * blockDim.y. The
// next row is asked for before this one's sums are formed. Which rows a block adds up depends on the shape alone, and the
// weight's gradient has the same bits whether the input's is formed beside it or not.
template <int kMaxThreads, int kResidentBlocks, bool kCentered, bool kInput, bool kWeight, class T>
__global__ void __launch_bounds__(kMaxThreads, kResidentBlocks) norm_backward_kernel(NormBackward<T> a) {
  constexpr int kOutputs = kCentered ? 2 : 1;
  __shared__ float2 sums[2][32];
  const RmsNormSize& size = a.size;
  const int64_t column = static_cast<int64_t>(threadIdx.x) * kPackSize;
  const bool inside = column < size.hidden;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.y;
  const float inverse_hidden = 1.0f / static_cast<float>(size.hidden);
  float added[kOutputs][kPackSize] = {};
  RawPack<T> weight{}, next_dy{}, next_s{}, next_dsum{};
  float next_scale = 0, next_center = 0;
  if (kInput && inside) weight.fetch(a.weight + column);
  const auto fetch = [&](int64_t row) {
    if (row >= size.rows || !inside) return;
    next_dy.fetch(a.dy + row_start(size, row, size.dy_stride) + column);
    next_s.fetch(a.s + row_start(size, row, size.x_stride) + column);
    if (kInput && a.dsum) next_dsum.fetch(a.dsum + row_start(size, row, size.dx_stride) + column);
    next_scale = a.rstd[row];
    if (kCentered) next_center = a.mean[row];
  };
  int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  fetch(row);
  int half = 0;
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * blockDim.y; first < size.rows; first += step, row += step, half ^= 1) {
    const bool mine = inside && row < size.rows;
    float g[kPackSize] = {}, s_hat[kPackSize] = {}, out[kPackSize] = {};
    const float scale = next_scale, center = next_center;
    if (mine) {
      next_dy.widen(g);
      next_s.widen(s_hat);
      if (kInput && a.dsum) next_dsum.widen(out);
#pragma unroll
      for (int j = 0; j < kPackSize; ++j) s_hat[j] = kCentered ? (s_hat[j] - center) * scale : s_hat[j] * scale;
    }
    fetch(row + step);
    if constexpr (kWeight) {
#pragma unroll
      for (int j = 0; j < kPackSize; ++j) {
        added[0][j] += g[j] * s_hat[j];
        if constexpr (kCentered) added[1][j] += g[j];
      }
    }
    if constexpr (kInput) {
      float w[kPackSize];
      weight.widen(w);
      float2 sum{0.0f, 0.0f};
#pragma unroll
      for (int j = 0; j < kPackSize; ++j) {
        g[j] *= w[j];
        sum.x += g[j] * s_hat[j];
        if constexpr (kCentered) sum.y += g[j];
      }
      sum = row_sums(sum, sums, half);
      const float dot = sum.x * inverse_hidden, mean_g = sum.y * inverse_hidden;
#pragma unroll
      for (int j = 0; j < kPackSize; ++j) out[j] += scale * ((kCentered ? g[j] - mean_g : g[j]) - s_hat[j] * dot);
      if (mine) store(a.dx + row_start(size, row, size.dx_stride) + column, out);
    }
  }
  if constexpr (kWeight) write_block_sums(a, added);
}

// Rows of any width and alignment, a block to a row, element by element; the sums over rows live in `partial` itself.
inline constexpr int kAnyWidthThreads = 256;
template <bool kCentered, bool kInput, bool kWeight, class T>
__global__ void __launch_bounds__(kAnyWidthThreads) norm_backward_any_width_kernel(NormBackward<T> a) {
  __shared__ float2 sums[2][32];
  const RmsNormSize& size = a.size;
  const float inverse_hidden = 1.0f / static_cast<float>(size.hidden);
  float* const weight_sums = a.partial + blockIdx.x * size.hidden;
  float* const bias_sums = a.partial + (static_cast<int64_t>(gridDim.x) + blockIdx.x) * size.hidden;
  int half = 0;
  for (int64_t row = blockIdx.x; row < size.rows; row += gridDim.x, half ^= 1) {
    const T* dy = a.dy + row_start(size, row, size.dy_stride);
    const T* s = a.s + row_start(size, row, size.x_stride);
    const int64_t dx_start = row_start(size, row, size.dx_stride);
    const float scale = a.rstd[row], center = kCentered ? a.mean[row] : 0.0f;
    const auto s_hat_at = [&](int64_t h) { return (static_cast<float>(s[h]) - center) * scale; };
    float dot = 0, mean_g = 0;
    if constexpr (kInput) {
      float2 sum{0.0f, 0.0f};
      for (int64_t h = threadIdx.x; h < size.hidden; h += kAnyWidthThreads) {
        const float g = static_cast<float>(dy[h]) * static_cast<float>(a.weight[h]);
        sum.x += g * s_hat_at(h);
        sum.y += g;
      }
      sum = row_sums(sum, sums, half);
      dot = sum.x * inverse_hidden;
      mean_g = kCentered ? sum.y * inverse_hidden : 0.0f;
    }
    for (int64_t h = threadIdx.x; h < size.hidden; h += kAnyWidthThreads) {
      const float d = static_cast<float>(dy[h]), s_hat = s_hat_at(h);  // before dx, which may be dy, is written
      if constexpr (kWeight) {
        const bool first = row == blockIdx.x;
        weight_sums[h] = (first ? 0.0f : weight_sums[h]) + d * s_hat;
        if constexpr (kCentered) bias_sums[h] = (first ? 0.0f : bias_sums[h]) + d;
      }
      if constexpr (kInput) {
        const float out = a.dsum ? static_cast<float>(a.dsum[dx_start + h]) : 0.0f;
        a.dx[dx_start + h] = narrowed<T>(out + scale * (d * static_cast<float>(a.weight[h]) - mean_g - s_hat * dot));
      }
    }
  }
}

// dx may be null (weight alone), and all outputs may be (input alone).
template <bool kCentered, class T, class Grad>
void launch_norm_backward(const char* name, NormBackward<T> a, const ColumnOutputs<Grad, kCentered ? 2 : 1>& outputs,
                          cudaStream_t stream) {
  const RmsNormSize& size = a.size;
  const bool weight_wanted = outputs.of[0].sums || (kCentered && outputs.of[1].sums);
  const bool packed = pack_aligned(a.dx) && pack_aligned(a.dy) && pack_aligned(a.dsum) && pack_aligned(a.s) && pack_aligned(a.weight) &&
                      pack_stride(size.hidden) && pack_stride(size.x_stride) && pack_stride(size.dx_stride) &&
                      pack_stride(size.dy_stride) && size.hidden <= 1024 * kPackSize;
  const int width = packed ? static_cast<int>((size.hidden / kPackSize + 31) / 32 * 32) : kAnyWidthThreads;
  const dim3 block(width, packed ? std::max(1, 256 / width) : 1);
  const int64_t grid = std::min<int64_t>((size.rows + block.y - 1) / block.y, norm_row_blocks(size.hidden));
  const auto launch = [&]<bool kInput, bool kWeight>() {
    if (grid == 0) return;
    if (packed && width <= 256) {
      norm_backward_kernel<256, 3, kCentered, kInput, kWeight><<<static_cast<unsigned>(grid), block, 0, stream>>>(a);
    } else if (packed) {
      norm_backward_kernel<1024, 1, kCentered, kInput, kWeight><<<static_cast<unsigned>(grid), block, 0, stream>>>(a);
    } else {
      norm_backward_any_width_kernel<kCentered, kInput, kWeight><<<static_cast<unsigned>(grid), block, 0, stream>>>(a);
    }
    check_launch(name);
  };
  if (a.dx && weight_wanted) {
    launch.template operator()<true, true>();
  } else if (a.dx) {
    launch.template operator()<true, false>();
  } else if (weight_wanted) {
    launch.template operator()<false, true>();
  }
  if (weight_wanted) add_row_blocks(name, outputs, a.partial, size.hidden, static_cast<int>(grid), stream);
}

}  // namespace nemo::kernels
