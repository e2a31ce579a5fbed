// Root-mean-square normalisation, alone or with the residual addition that feeds it.
#pragma once
#include <cstdint>

#include "kernels/base/cuda_stream.h"
#include "kernels/base/dtype.h"

namespace nemo::kernels {

// s = x + branch (when branch is given; written to sum, which may be x);  y = s / sqrt(mean(s^2) + eps) * weight, mean
// over hidden.   Zhang & Sennrich 2019, arXiv:1910.07467
//   x, branch, sum, y [rows, hidden] T (float | bf16)    weight [hidden] T    rstd [rows] fp32, kept for backward
// Sums run in fp32 whatever T is. The op has checked, nothing here validates or allocates.
// A row is one head of one token: row r is head r % heads of token r / heads, and token t of x, branch, sum, s starts at
// t * x_stride, of y at t * y_stride, of dx and dsum at t * dx_stride, of dy at t * dy_stride; 0 means heads * hidden
// (no gaps). heads = 1 is the plain norm; more is the norm of queries and keys inside a packed projection.
struct RmsNormSize {
  int64_t rows, hidden;
  int64_t heads = 1, x_stride = 0, y_stride = 0, dx_stride = 0, dy_stride = 0;
};
template <class T>
void rms_norm_forward_cpu(T* y, T* sum, float* rstd, const T* x, const T* branch, const T* weight, RmsNormSize size, float eps);
template <class T>
NEMO_CUDA_KERNEL void rms_norm_forward_cuda(T* y, T* sum, float* rstd, const T* x, const T* branch, const T* weight,
                                            RmsNormSize size, float eps, cudaStream_t stream);

// dx = rstd * (w dy - s_hat * mean(w dy s_hat)) + dsum, with s_hat = s * rstd; dsum [rows, hidden] is the gradient that
// reaches s by the residual path, or null. dx may be dy or dsum.
// dweight[h] (+)= sum over rows of dy * s_hat.  Grad (float | bf16); accumulate adds to what is there.
// One pass over dy and s serves both; either pointer may be null, and the other's bits do not depend on it.
// scratch: fp32, norm_scratch_floats(hidden, 1), unused without dweight; partial sums over fixed sets of rows are added in
// order, so bits do not vary.
// A set of rows to each block that 132 multiprocessors (Hopper) hold at once: 3, 2 or 1 of them, by the threads a row takes.
inline int64_t norm_row_blocks(int64_t hidden) { return hidden <= 2048 ? 3 * 132 : hidden <= 4096 ? 2 * 132 : 132; }
inline int64_t norm_scratch_floats(int64_t hidden, int64_t outputs) { return outputs * norm_row_blocks(hidden) * hidden; }
template <class T, class Grad>
void rms_norm_backward_cpu(T* dx, Grad* dweight, bool accumulate, const T* dy, const T* dsum, const T* s, const float* rstd,
                           const T* weight, RmsNormSize size, float* scratch);
template <class T, class Grad>
NEMO_CUDA_KERNEL void rms_norm_backward_cuda(T* dx, Grad* dweight, bool accumulate, const T* dy, const T* dsum, const T* s,
                                             const float* rstd, const T* weight, RmsNormSize size, float* scratch, cudaStream_t stream);

}  // namespace nemo::kernels
