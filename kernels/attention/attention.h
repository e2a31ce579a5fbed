// Scaled dot-product attention over segments, grouped-query, causal or not, windowed, with dropout.
// Own kernels: CPU (fp32, bf16 widened) and a tiled CUDA kernel; the fused library kernels stand in attention_cudnn.h.
#pragma once
#include <cstdint>

#include "kernels/base/cuda_stream.h"
#include "kernels/base/dtype.h"
#include "kernels/base/philox.h"
#include "kernels/base/step_state.h"

namespace nemo::kernels {

// Segment i holds query tokens [q_begin[i], q_end[i]) and key tokens [k_begin[i], k_end[i]); query j of a segment stands at
// key position j + (key length - query length), so a cache longer than the queries works. Segments with no query are skipped.
//   q, out [query tokens, num_heads, head_size]   k, v [key tokens, num_groups, head_size]   T (float | bf16)
//   token strides are given; heads are adjacent.   lse [num_heads, query tokens] fp32: log of the softmax denominators
// p = softmax(scale * q k^T + mask), causal: key position <= query position; window w > 0: key position > query position - w.
// softcap c > 0: scores become c * tanh(scores / c) before the mask (Gemma 2).
// out = dropout(p) v; an element of p is dropped when uniform(philox(key, step, index).x) < dropout with
// index = (global query token id * num_heads + head) * 2^20 + key position in its segment (or key_positions[key token], where
// the keys are a part of their segment); kept ones scale by 1/(1-dropout).
// Dao 2023, arXiv:2307.08691. Sums in fp32.
struct AttentionShape {
  int64_t num_segments, query_tokens, key_tokens;     // all tokens of the buffers
  int64_t max_query_length, max_key_length;           // of one segment
  int64_t num_heads, num_groups, head_size;           // num_groups divides num_heads
  int64_t q_stride, k_stride, v_stride, out_stride;   // elements between consecutive tokens
  float scale = 1;
  bool causal = true;
  int64_t window = 0;                                 // 0: none
  float softcap = 0;                                  // 0: none
  float dropout = 0;                                  // 0: none
  int64_t first_head = 0, total_heads = 0;            // this slice's first head and all heads, for the dropout index; 0: num_heads
};
struct AttentionSegments { const int32_t *q_begin, *q_end, *k_begin, *k_end; };  // [num_segments] each, on the device
// token_ids [query tokens], key_positions [key tokens] or null
struct AttentionDropout { RandomKey key; const int64_t* token_ids = nullptr; const StepState* state = nullptr; const int32_t* key_positions = nullptr; };

template <class T>
void attention_forward_cpu(T* out, float* lse, const T* q, const T* k, const T* v, const AttentionSegments& segments,
                           const AttentionShape& shape, const AttentionDropout& dropout);
template <class T>
NEMO_CUDA_KERNEL void attention_forward_cuda(T* out, float* lse, const T* q, const T* k, const T* v, const AttentionSegments& segments,
                                             const AttentionShape& shape, const AttentionDropout& dropout, cudaStream_t stream);

// dq, dk, dv take the strides of their struct; dout takes dout_stride. delta: scratch fp32 [num_heads, query tokens].
// Two passes without atomics: keys gather over queries, queries gather over keys.
struct AttentionGradStrides { int64_t dout_stride, dq_stride, dk_stride, dv_stride; };
template <class T>
void attention_backward_cpu(T* dq, T* dk, T* dv, const T* dout, const T* q, const T* k, const T* v, const T* out, const float* lse,
                            float* delta, const AttentionSegments& segments, const AttentionShape& shape,
                            const AttentionGradStrides& strides, const AttentionDropout& dropout);
template <class T>
NEMO_CUDA_KERNEL void attention_backward_cuda(T* dq, T* dk, T* dv, const T* dout, const T* q, const T* k, const T* v, const T* out,
                                              const float* lse, float* delta, const AttentionSegments& segments,
                                              const AttentionShape& shape, const AttentionGradStrides& strides,
                                              const AttentionDropout& dropout, cudaStream_t stream);

}  // namespace nemo::kernels
