// cuDNN's fused attention for bf16 batches of equal-length sequences (the training case). Plans are built at first use of a
// shape and cached in the engine. Not here: dropout, fp32, caches (kernels/attention/attention.h).
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/attention/attention.h"

namespace nemo::kernels {

class CudnnAttention;  // handle, plan cache; one per device
NEMO_CUDA_KERNEL CudnnAttention* cudnn_attention_create();
NEMO_CUDA_KERNEL void cudnn_attention_destroy(CudnnAttention* engine) noexcept;

// True when cuDNN has a plan for this shape (bf16, segments all of max_query_length = max_key_length tokens, no dropout);
// builds the plans for forward and, if `training`, backward. workspace_bytes: what both need, at most.
// deterministic: only plans whose backward gives the same bits every time.
struct CudnnPlan { bool supported = false; size_t workspace_bytes = 0; };
NEMO_CUDA_KERNEL CudnnPlan cudnn_attention_plan(CudnnAttention& engine, const AttentionShape& shape,
                                                const AttentionGradStrides& strides, bool training, bool deterministic);
// lse is laid out as the engine likes ([num_segments, num_heads, length] fp32, same element count as attention_forward's).
NEMO_CUDA_KERNEL void cudnn_attention_forward(CudnnAttention& engine, bf16* out, float* lse, const bf16* q, const bf16* k, const bf16* v,
                                              const AttentionShape& shape, void* workspace, cudaStream_t stream);
NEMO_CUDA_KERNEL void cudnn_attention_backward(CudnnAttention& engine, bf16* dq, bf16* dk, bf16* dv, const bf16* dout, const bf16* q,
                                               const bf16* k, const bf16* v, const bf16* out, const float* lse,
                                               const AttentionShape& shape, const AttentionGradStrides& strides, bool deterministic,
                                               void* workspace, cudaStream_t stream);

}  // namespace nemo::kernels
