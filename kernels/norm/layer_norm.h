// Layer normalisation, alone or with the residual addition that feeds it.
#pragma once
#include <cstdint>

#include "kernels/base/cuda_stream.h"
#include "kernels/base/dtype.h"
#include "kernels/norm/rms_norm.h"  // norm_scratch_floats

namespace nemo::kernels {

// s = x + branch (when branch is given; written to sum, which may be x);  y = (s - mean) * rstd * weight + bias, moments
// over hidden.   Ba et al. 2016, arXiv:1607.06450
//   x, branch, sum, y [rows, hidden] T (float | bf16)   weight, bias [hidden] T   mean, rstd [rows] fp32, kept for backward
// Rows are contiguous and follow each other without gaps. Sums run in fp32 (variance around the mean, two passes).
struct LayerNormSize { int64_t rows, hidden; };
template <class T>
void layer_norm_forward_cpu(T* y, T* sum, float* mean, float* rstd, const T* x, const T* branch, const T* weight, const T* bias,
                            LayerNormSize size, float eps);
template <class T>
NEMO_CUDA_KERNEL void layer_norm_forward_cuda(T* y, T* sum, float* mean, float* rstd, const T* x, const T* branch, const T* weight,
                                              const T* bias, LayerNormSize size, float eps, cudaStream_t stream);

// dx = rstd * (w dy - mean(w dy) - s_hat * mean(w dy s_hat)) + dsum; dsum may be null. dx may be dy or dsum.
// dweight[h] (+)= sum over rows of dy * s_hat, dbias[h] (+)= sum over rows of dy.
// One pass over dy and s serves all three; each pointer may be null (not wanted, frozen), and the others' bits do not depend
// on it. scratch: fp32, norm_scratch_floats(hidden, 2), unused without dweight and dbias; fixed sets of rows.
template <class T, class Grad>
void layer_norm_backward_cpu(T* dx, Grad* dweight, bool accumulate_weight, Grad* dbias, bool accumulate_bias, const T* dy,
                             const T* dsum, const T* s, const float* mean, const float* rstd, const T* weight, LayerNormSize size,
                             float* scratch);
template <class T, class Grad>
NEMO_CUDA_KERNEL void layer_norm_backward_cuda(T* dx, Grad* dweight, bool accumulate_weight, Grad* dbias, bool accumulate_bias,
                                               const T* dy, const T* dsum, const T* s, const float* mean, const float* rstd,
                                               const T* weight, LayerNormSize size, float* scratch, cudaStream_t stream);

}  // namespace nemo::kernels
