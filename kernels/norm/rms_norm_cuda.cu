#include "kernels/base/column_sum.cuh"
#include "kernels/norm/norm_rows.cuh"
#include "kernels/norm/rms_norm.h"

namespace nemo::kernels {
namespace {

// Where row r (head r % heads of token r / heads) starts in an array whose tokens are `stride` apart.
__device__ inline int64_t row_start(const RmsNormSize& size, int64_t row, int64_t stride) {
  if (size.heads == 1) return row * stride;
  const int64_t token = row / size.heads;
  return token * stride + (row - token * size.heads) * size.hidden;
}

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

template <class Work, class T>
__global__ void __launch_bounds__(Work::kBlockThreads)
    rms_norm_backward_input_kernel(T* dx, const T* dy, const T* dsum, const T* s, const float* rstd, const T* weight,
                                   RmsNormSize size) {
  const int64_t row = Work::row();
  if (row >= size.rows) return;
  const T* s_row = s + row_start(size, row, size.x_stride);
  const T* dy_row = dy + row_start(size, row, size.dy_stride);
  const int64_t dx_start = row_start(size, row, size.dx_stride);
  const float scale = rstd[row];
  float s_hat[Work::kSlots][Work::kWidth], g[Work::kSlots][Work::kWidth];  // g = w dy
  const auto read = [&](int slot, int64_t column) {
    float w[Work::kWidth];
    load(s_hat[slot], s_row + column);
    load(g[slot], dy_row + column);
    load(w, weight + column);
#pragma unroll
    for (int j = 0; j < Work::kWidth; ++j) {
      s_hat[slot][j] *= scale;
      g[slot][j] *= w[j];
    }
  };
  float dot = 0;
  Work::for_columns(size.hidden, [&](int slot, int64_t column) {
    read(slot, column);
#pragma unroll
    for (int j = 0; j < Work::kWidth; ++j) dot += g[slot][j] * s_hat[slot][j];
  });
  const float mean = Work::sum(dot) / static_cast<float>(size.hidden);
  Work::for_columns(size.hidden, [&](int slot, int64_t column) {
    if constexpr (!Work::kHeld) read(slot, column);
    float out[Work::kWidth] = {};
    if (dsum) load(out, dsum + dx_start + column);
#pragma unroll
    for (int j = 0; j < Work::kWidth; ++j) out[j] += scale * (g[slot][j] - s_hat[slot][j] * mean);
    store(dx + dx_start + column, out);
  });
}

template <class T>
struct RmsNormWeightTerm {
  static constexpr int kOutputs = 1;
  const T *dy, *s;
  const float* rstd;
  RmsNormSize size;
  template <int N>
  __device__ void add(float (&sum)[1][N], int64_t row, int64_t column) const {
    float d[N], v[N];
    load(d, dy + row_start(size, row, size.dy_stride) + column);
    load(v, s + row_start(size, row, size.x_stride) + column);
    const float scale = rstd[row];
#pragma unroll
    for (int j = 0; j < N; ++j) sum[0][j] += d[j] * (v[j] * scale);
  }
};

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

template <class T>
void rms_norm_backward_input_cuda(T* dx, const T* dy, const T* dsum, const T* s, const float* rstd, const T* weight,
                                  RmsNormSize size, cudaStream_t stream) {
  if (size.rows == 0) return;
  size = with_strides(size);
  const bool packed = pack_aligned(dx) && pack_aligned(dy) && pack_aligned(dsum) && pack_aligned(s) && pack_aligned(weight) &&
                      pack_stride(size.hidden) && pack_stride(size.x_stride) && pack_stride(size.dx_stride) &&
                      pack_stride(size.dy_stride);
  for_row_width(size.hidden, packed, [&]<class Work>() {
    rms_norm_backward_input_kernel<Work>
        <<<Work::grid(size.rows), Work::block(), 0, stream>>>(dx, dy, dsum, s, rstd, weight, size);
  });
  check_launch("rms_norm_backward_input");
}

template <class T, class Grad>
void rms_norm_backward_weight_cuda(Grad* dweight, bool accumulate, const T* dy, const T* s, const float* rstd, RmsNormSize size,
                                   float* scratch, cudaStream_t stream) {
  size = with_strides(size);
  const bool aligned = pack_aligned(dy) && pack_aligned(s) && pack_stride(size.x_stride) && pack_stride(size.dy_stride);
  column_sums<Grad>("rms_norm_backward_weight", {dweight}, {accumulate}, RmsNormWeightTerm<T>{dy, s, rstd, size},
                    {size.rows, size.hidden, kNormRowBlocks}, aligned, scratch, stream);
}

#define NEMO_RMS_NORM(T)                                                                                                        \
  template void rms_norm_forward_cuda(T*, T*, float*, const T*, const T*, const T*, RmsNormSize, float, cudaStream_t);         \
  template void rms_norm_backward_input_cuda(T*, const T*, const T*, const T*, const float*, const T*, RmsNormSize,            \
                                             cudaStream_t);                                                                    \
  template void rms_norm_backward_weight_cuda(float*, bool, const T*, const T*, const float*, RmsNormSize, float*,             \
                                              cudaStream_t);                                                                   \
  template void rms_norm_backward_weight_cuda(bf16*, bool, const T*, const T*, const float*, RmsNormSize, float*, cudaStream_t);
NEMO_RMS_NORM(float)
NEMO_RMS_NORM(bf16)
#undef NEMO_RMS_NORM

}  // namespace nemo::kernels
