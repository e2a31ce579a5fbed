#include "kernels/norm/layer_norm.h"
#include "kernels/norm/norm_backward.cuh"
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

template <class T, class Grad>
void layer_norm_backward_cuda(T* dx, Grad* dweight, bool accumulate_weight, Grad* dbias, bool accumulate_bias, const T* dy,
                              const T* dsum, const T* s, const float* mean, const float* rstd, const T* weight, LayerNormSize size,
                              float* scratch, cudaStream_t stream) {
  const RmsNormSize rows{size.rows, size.hidden, 1, size.hidden, size.hidden, size.hidden, size.hidden};
  launch_norm_backward<true>("layer_norm_backward", NormBackward<T>{dx, dy, dsum, s, mean, rstd, weight, rows, scratch},
                             ColumnOutputs<Grad, 2>{{{dweight, accumulate_weight}, {dbias, accumulate_bias}}}, stream);
}

#define NEMO_LAYER_NORM(T)                                                                                                      \
  template void layer_norm_forward_cuda(T*, T*, float*, float*, const T*, const T*, const T*, const T*, LayerNormSize, float,  \
                                        cudaStream_t);                                                                         \
  template void layer_norm_backward_cuda(T*, float*, bool, float*, bool, const T*, const T*, const T*, const float*,           \
                                         const float*, const T*, LayerNormSize, float*, cudaStream_t);                         \
  template void layer_norm_backward_cuda(T*, bf16*, bool, bf16*, bool, const T*, const T*, const T*, const float*,             \
                                         const float*, const T*, LayerNormSize, float*, cudaStream_t);
NEMO_LAYER_NORM(float)
NEMO_LAYER_NORM(bf16)
#undef NEMO_LAYER_NORM

}  // namespace nemo::kernels
