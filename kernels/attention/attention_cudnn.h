// cuDNN's fused attention for bf16 batches of equal-length sequences (the training case). Plans are built at first use of a
// shape and cached in the engine. Not here: dropout, fp32, caches (kernels/attention/attention.h).
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/attention/attention.h"

namespace nemo::kernels {

// Handle and plans; one per device. The plan of a shape is what the book says; where it says nothing, the heuristic's plans are
// timed at the first call when `tune` is set, else its first is taken, and the book is told. The book must outlive the engine.
class CudnnAttention;
class PlanBook;
NEMO_CUDA_KERNEL CudnnAttention* cudnn_attention_create(bool tune, PlanBook& book);
NEMO_CUDA_KERNEL void cudnn_attention_destroy(CudnnAttention* engine) noexcept;

// True when cuDNN has a plan for this shape (bf16, segments all of max_query_length = max_key_length tokens, no dropout);
// builds the plans for forward and, if `training`, backward. Plans that need more workspace than the limit are no plans.
// deterministic: only plans whose backward gives the same bits every time.
struct CudnnWorkspaceLimits { size_t forward_bytes, backward_bytes; };
NEMO_CUDA_KERNEL bool cudnn_attention_plan(CudnnAttention& engine, const AttentionShape& shape, const AttentionGradStrides& strides,
                                           bool training, bool deterministic, const CudnnWorkspaceLimits& limits);
// Only where cudnn_attention_plan said yes. The first call for a shape may time its plans and waits for them.
// lse is laid out as the engine likes ([num_segments, num_heads, length] fp32, same element count as attention_forward's).
NEMO_CUDA_KERNEL void cudnn_attention_forward(CudnnAttention& engine, bf16* out, float* lse, const bf16* q, const bf16* k, const bf16* v,
                                              const AttentionShape& shape, void* workspace, cudaStream_t stream);
NEMO_CUDA_KERNEL void cudnn_attention_backward(CudnnAttention& engine, bf16* dq, bf16* dk, bf16* dv, const bf16* dout, const bf16* q,
                                               const bf16* k, const bf16* v, const bf16* out, const float* lse,
                                               const AttentionShape& shape, const AttentionGradStrides& strides, bool deterministic,
                                               void* workspace, cudaStream_t stream);

}  // namespace nemo::kernels
