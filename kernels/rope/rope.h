// Rotary position embedding, in place. Su et al. 2021, arXiv:2104.09864; halves convention of Llama and GPT-NeoX.
#pragma once
#include <cstdint>

#include "kernels/base/cuda_stream.h"
#include "kernels/base/dtype.h"

namespace nemo::kernels {

// For token t at position p = positions[t] and each head: (a, b) = halves of the first `rotary_size` elements;
//   a' = a cos[p] - b sin[p],  b' = b cos[p] + a sin[p];  inverse rotates by -angle (the backward).
//   q [tokens, q_heads, head_size], k [tokens, k_heads, head_size] T (float | bf16), token t at t * stride, apart from each
//   other; cos, sin [max_positions, rotary_size/2] fp32
struct RopeShape { int64_t tokens, q_heads, k_heads, head_size, rotary_size, q_stride, k_stride; bool inverse = false; };
template <class T>
void rope_cpu(T* q, T* k, const int32_t* positions, const float* cos, const float* sin, const RopeShape& shape);
template <class T>
NEMO_CUDA_KERNEL void rope_cuda(T* q, T* k, const int32_t* positions, const float* cos, const float* sin, const RopeShape& shape,
                                cudaStream_t stream);

}  // namespace nemo::kernels
