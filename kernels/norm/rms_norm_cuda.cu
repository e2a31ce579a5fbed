#include "kernels/norm/norm_backward.cuh"
#include "kernels/norm/norm_rows.cuh"
#include "kernels/norm/rms_norm.h"

namespace nemo::kernels {
namespace {

RmsNormSize with_strides(RmsNormSize size) {
  const int64_t packed = size.heads * size.hidden;
  for (int64_t* stride : {&size.x_stride, &size.y_stride, &size.dx_stride, &size.dy_stride}) {
    if (*stride == 0) *stride = packed;
  }
  return size;
}

template <class Work, class T>
__global__ void __launch_bounds__(Work::kBlockThreads)
    rms_norm_forward_kernel(T* y, T* sum, float* rstd, const T* x, const T* branch, const T* weight, RmsNormSize size, float eps) {
  const int64_t row = Work::row();
  if (row >= size.rows) return;
  const int64_t start = row_start(size, row, size.x_stride);
  float s[Work::kSlots][Work::kWidth];
  float squares = 0;
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
    for (int j = 0; j < Work::kWidth; ++j) squares += s[slot][j] * s[slot][j];
  });
  const float scale = 1.0f / sqrtf(Work::sum(squares) / static_cast<float>(size.hidden) + eps);
  if (threadIdx.x == 0) rstd[row] = scale;
  T* out = y + row_start(size, row, size.y_stride);
  Work::for_columns(size.hidden, [&](int slot, int64_t column) {
    if constexpr (!Work::kHeld) load(s[slot], (branch ? sum : x) + start + column);
    float w[Work::kWidth];
    load(w, weight + column);
#pragma unroll
    for (int j = 0; j < Work::kWidth; ++j) w[j] *= s[slot][j] * scale;
    store(out + column, w);
  });
}

}  // namespace

template <class T>
void rms_norm_forward_cuda(T* y, T* sum, float* rstd, const T* x, const T* branch, const T* weight, RmsNormSize size, float eps,
                           cudaStream_t stream) {
  if (size.rows == 0) return;
  size = with_strides(size);
  const bool packed = pack_aligned(y) && pack_aligned(sum) && pack_aligned(x) && pack_aligned(branch) && pack_aligned(weight) &&
                      pack_stride(size.hidden) && pack_stride(size.x_stride) && pack_stride(size.y_stride);
  for_row_width(size.hidden, packed, [&]<class Work>() {
    rms_norm_forward_kernel<Work>
        <<<Work::grid(size.rows), Work::block(), 0, stream>>>(y, sum, rstd, x, branch, weight, size, eps);
  });
  check_launch("rms_norm_forward");
}

template <class T, class Grad>
void rms_norm_backward_cuda(T* dx, Grad* dweight, bool accumulate, const T* dy, const T* dsum, const T* s, const float* rstd,
                            const T* weight, RmsNormSize size, float* scratch, cudaStream_t stream) {
  launch_norm_backward<false>("rms_norm_backward", NormBackward<T>{dx, dy, dsum, s, nullptr, rstd, weight, with_strides(size), scratch},
                              ColumnOutputs<Grad, 1>{{{dweight, accumulate}}}, stream);
}

#define NEMO_RMS_NORM(T)                                                                                                       \
  template void rms_norm_forward_cuda(T*, T*, float*, const T*, const T*, const T*, RmsNormSize, float, cudaStream_t);        \
  template void rms_norm_backward_cuda(T*, float*, bool, const T*, const T*, const T*, const float*, const T*, RmsNormSize,   \
                                       float*, cudaStream_t);                                                                 \
  template void rms_norm_backward_cuda(T*, bf16*, bool, const T*, const T*, const T*, const float*, const T*, RmsNormSize,    \
                                       float*, cudaStream_t);
NEMO_RMS_NORM(float)
NEMO_RMS_NORM(bf16)
#undef NEMO_RMS_NORM

}  // namespace nemo::kernels
