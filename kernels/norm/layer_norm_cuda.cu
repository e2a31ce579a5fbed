#include "kernels/base/column_sum.cuh"
#include "kernels/norm/layer_norm.h"
#include "kernels/norm/norm_rows.cuh"

namespace nemo::kernels {
namespace {

template <class Work, class T>
__global__ void __launch_bounds__(Work::kBlockThreads)
    layer_norm_forward_kernel(T* y, T* sum, float* mean, float* rstd, const T* x, const T* branch, const T* weight, const T* bias,
                              LayerNormSize size, float eps) {
  const int64_t row = Work::row();
  if (row >= size.rows) return;
  const int64_t start = row * size.hidden;
  const float inverse_hidden = 1.0f / static_cast<float>(size.hidden);
  float s[Work::kSlots][Work::kWidth];
  float total = 0;
  Work::for_columns(size.hidden, [&](int slot, int64_t column) {
    load(s[slot], x + start + column);
    if (branch) {
      float added[Work::kWidth];
      load(added, branch + start + column);
#pragma unroll
      for (int j = 0; j < Work::kWidth; ++j) s[slot][j] = rounded<T>(s[slot][j] + added[j]);  // what the backward will read
      store(sum + start + column, s[slot]);
    }
#pragma unroll
    for (int j = 0; j < Work::kWidth; ++j) total += s[slot][j];
  });
  const T* source = branch ? sum : x;
  const float center = Work::sum(total) * inverse_hidden;
  float squares = 0;
  Work::for_columns(size.hidden, [&](int slot, int64_t column) {
    if constexpr (!Work::kHeld) load(s[slot], source + start + column);
#pragma unroll
    for (int j = 0; j < Work::kWidth; ++j) squares += (s[slot][j] - center) * (s[slot][j] - center);
  });
  const float scale = 1.0f / sqrtf(Work::sum(squares) * inverse_hidden + eps);
  if (threadIdx.x == 0) {
    mean[row] = center;
    rstd[row] = scale;
  }
  Work::for_columns(size.hidden, [&](int slot, int64_t column) {
    if constexpr (!Work::kHeld) load(s[slot], source + start + column);
    float w[Work::kWidth], b[Work::kWidth];
    load(w, weight + column);
    load(b, bias + column);
#pragma unroll
    for (int j = 0; j < Work::kWidth; ++j) b[j] += (s[slot][j] - center) * scale * w[j];
    store(y + start + column, b);
  });
}

template <class Work, class T>
__global__ void __launch_bounds__(Work::kBlockThreads)
    layer_norm_backward_input_kernel(T* dx, const T* dy, const T* dsum, const T* s, const float* mean, const float* rstd,
                                     const T* weight, LayerNormSize size) {
  const int64_t row = Work::row();
  if (row >= size.rows) return;
  const int64_t start = row * size.hidden;
  const float inverse_hidden = 1.0f / static_cast<float>(size.hidden);
  const float center = mean[row], scale = rstd[row];
  float s_hat[Work::kSlots][Work::kWidth], g[Work::kSlots][Work::kWidth];  // g = w dy
  const auto read = [&](int slot, int64_t column) {
    float w[Work::kWidth];
    load(s_hat[slot], s + start + column);
    load(g[slot], dy + start + column);
    load(w, weight + column);
#pragma unroll
    for (int j = 0; j < Work::kWidth; ++j) {
      s_hat[slot][j] = (s_hat[slot][j] - center) * scale;
      g[slot][j] *= w[j];
    }
  };
  float total = 0, dot = 0;
  Work::for_columns(size.hidden, [&](int slot, int64_t column) {
    read(slot, column);
#pragma unroll
    for (int j = 0; j < Work::kWidth; ++j) {
      total += g[slot][j];
      dot += g[slot][j] * s_hat[slot][j];
    }
  });
  const float mean_g = Work::sum(total) * inverse_hidden, mean_dot = Work::sum(dot) * inverse_hidden;
  Work::for_columns(size.hidden, [&](int slot, int64_t column) {
    if constexpr (!Work::kHeld) read(slot, column);
    float out[Work::kWidth] = {};
    if (dsum) load(out, dsum + start + column);
#pragma unroll
    for (int j = 0; j < Work::kWidth; ++j) out[j] += scale * (g[slot][j] - mean_g - s_hat[slot][j] * mean_dot);
    store(dx + start + column, out);
  });
}

// Outputs: weight, bias.
template <class T>
struct LayerNormWeightTerm {
  static constexpr int kOutputs = 2;
  const T *dy, *s;
  const float *mean, *rstd;
  int64_t hidden;
  template <int N>
  __device__ void add(float (&sum)[2][N], int64_t row, int64_t column) const {
    float d[N], v[N];
    load(d, dy + row * hidden + column);
    load(v, s + row * hidden + column);
    const float center = mean[row], scale = rstd[row];
#pragma unroll
    for (int j = 0; j < N; ++j) {
      sum[0][j] += d[j] * ((v[j] - center) * scale);
      sum[1][j] += d[j];
    }
  }
};

}  // namespace

template <class T>
void layer_norm_forward_cuda(T* y, T* sum, float* mean, float* rstd, const T* x, const T* branch, const T* weight, const T* bias,
                             LayerNormSize size, float eps, cudaStream_t stream) {
  if (size.rows == 0) return;
  const bool packed = pack_aligned(y) && pack_aligned(sum) && pack_aligned(x) && pack_aligned(branch) && pack_aligned(weight) &&
                      pack_aligned(bias) && pack_stride(size.hidden);
  for_row_width(size.hidden, packed, [&]<class Work>() {
    layer_norm_forward_kernel<Work>
        <<<Work::grid(size.rows), Work::block(), 0, stream>>>(y, sum, mean, rstd, x, branch, weight, bias, size, eps);
  });
  check_launch("layer_norm_forward");
}

template <class T>
void layer_norm_backward_input_cuda(T* dx, const T* dy, const T* dsum, const T* s, const float* mean, const float* rstd,
                                    const T* weight, LayerNormSize size, cudaStream_t stream) {
  if (size.rows == 0) return;
  const bool packed = pack_aligned(dx) && pack_aligned(dy) && pack_aligned(dsum) && pack_aligned(s) && pack_aligned(weight) &&
                      pack_stride(size.hidden);
  for_row_width(size.hidden, packed, [&]<class Work>() {
    layer_norm_backward_input_kernel<Work>
        <<<Work::grid(size.rows), Work::block(), 0, stream>>>(dx, dy, dsum, s, mean, rstd, weight, size);
  });
  check_launch("layer_norm_backward_input");
}

template <class T, class Grad>
void layer_norm_backward_weight_cuda(Grad* dweight, bool accumulate_weight, Grad* dbias, bool accumulate_bias, const T* dy,
                                     const T* s, const float* mean, const float* rstd, LayerNormSize size, float* scratch,
                                     cudaStream_t stream) {
  if (!dweight && !dbias) return;
  const bool aligned = pack_aligned(dy) && pack_aligned(s);
  column_sums<Grad>("layer_norm_backward_weight", {dweight, dbias}, {accumulate_weight, accumulate_bias},
                    LayerNormWeightTerm<T>{dy, s, mean, rstd, size.hidden}, {size.rows, size.hidden, kNormRowBlocks}, aligned,
                    scratch, stream);
}

#define NEMO_LAYER_NORM(T)                                                                                                      \
  template void layer_norm_forward_cuda(T*, T*, float*, float*, const T*, const T*, const T*, const T*, LayerNormSize, float,  \
                                        cudaStream_t);                                                                         \
  template void layer_norm_backward_input_cuda(T*, const T*, const T*, const T*, const float*, const float*, const T*,         \
                                               LayerNormSize, cudaStream_t);                                                   \
  template void layer_norm_backward_weight_cuda(float*, bool, float*, bool, const T*, const T*, const float*, const float*,    \
                                                LayerNormSize, float*, cudaStream_t);                                          \
  template void layer_norm_backward_weight_cuda(bf16*, bool, bf16*, bool, const T*, const T*, const float*, const float*,      \
                                                LayerNormSize, float*, cudaStream_t);
NEMO_LAYER_NORM(float)
NEMO_LAYER_NORM(bf16)
#undef NEMO_LAYER_NORM

}  // namespace nemo::kernels
