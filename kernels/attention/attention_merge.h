// Attention over keys that come in parts: the parts' results, each normalised over its own keys, become one.
// Not here: attention over one part (attention.h).
#pragma once
#include <cstdint>

#include "kernels/base/cuda_stream.h"
#include "kernels/base/dtype.h"

namespace nemo::kernels {

// With l = log(exp(lse) + exp(part_lse)):  out <- out * exp(lse - l) + part * exp(part_lse - l),  lse <- l.
//   out [tokens, num_heads, head_size] fp32, part the same of T (float | bf16)    lse, part_lse [num_heads, tokens]
//   fp32
// A side with lse -inf has seen no key and adds nothing; its out is not read. Milakov & Gimelshein 2018,
// arXiv:1805.02867.
struct AttentionMergeShape {
  int64_t tokens, num_heads, head_size;
};
template <class T>
void attention_merge_cpu(float* out, float* lse, const T* part, const float* part_lse,
                         const AttentionMergeShape& shape);
template <class T>
NEMO_CUDA_KERNEL void attention_merge_cuda(float* out, float* lse, const T* part, const float* part_lse,
                                           const AttentionMergeShape& shape, cudaStream_t stream);

}  // namespace nemo::kernels
