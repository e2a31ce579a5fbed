// Pointwise activations of a feed-forward block, plain and gated.
#pragma once
#include <cstdint>

#include "kernels/base/cuda_stream.h"
#include "kernels/base/dtype.h"

namespace nemo::kernels {

// gelu_tanh: 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), Hendrycks & Gimpel 2016, arXiv:1606.08415; gelu: with erf;
// silu: x sigmoid(x); relu: max(x, 0).
enum class Activation : uint8_t { gelu_tanh, gelu, silu, relu };

// y = f(x);  dx = dy f'(x).  All [count] T (float | bf16), computed in fp32. y may be x; dx may be dy or x.
template <class T> void activation_forward_cpu(T* y, const T* x, Activation kind, int64_t count);
template <class T> NEMO_CUDA_KERNEL void activation_forward_cuda(T* y, const T* x, Activation kind, int64_t count, cudaStream_t stream);
template <class T> void activation_backward_cpu(T* dx, const T* dy, const T* x, Activation kind, int64_t count);
template <class T> NEMO_CUDA_KERNEL void activation_backward_cuda(T* dx, const T* dy, const T* x, Activation kind, int64_t count, cudaStream_t stream);

// Gated: y = f(gate) * up, with x [rows, 2 * ffn] holding gate in the first ffn columns and up in the rest; y, dy [rows, ffn].
// Shazeer 2020, arXiv:2002.05202 (SwiGLU with silu). dx [rows, 2 * ffn] may be x.
struct GatedShape { int64_t rows, ffn; };
template <class T> void gated_forward_cpu(T* y, const T* x, Activation kind, GatedShape shape);
template <class T> NEMO_CUDA_KERNEL void gated_forward_cuda(T* y, const T* x, Activation kind, GatedShape shape, cudaStream_t stream);
template <class T> void gated_backward_cpu(T* dx, const T* dy, const T* x, Activation kind, GatedShape shape);
template <class T> NEMO_CUDA_KERNEL void gated_backward_cuda(T* dx, const T* dy, const T* x, Activation kind, GatedShape shape, cudaStream_t stream);

// The same, taking the magnitudes of what is written on the way: amax [kAmaxParts] (kernels/quantise/quantise.h), or null for none.
template <class T> NEMO_CUDA_KERNEL void activation_forward_amax_cuda(T* y, const T* x, Activation kind, int64_t count, float* amax, cudaStream_t stream);
template <class T> NEMO_CUDA_KERNEL void activation_backward_amax_cuda(T* dx, const T* dy, const T* x, Activation kind, int64_t count, float* amax, cudaStream_t stream);
template <class T> NEMO_CUDA_KERNEL void gated_forward_amax_cuda(T* y, const T* x, Activation kind, GatedShape shape, float* amax, cudaStream_t stream);
template <class T> NEMO_CUDA_KERNEL void gated_backward_amax_cuda(T* dx, const T* dy, const T* x, Activation kind, GatedShape shape, float* amax, cudaStream_t stream);

}  // namespace nemo::kernels
