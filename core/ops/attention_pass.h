// The two passes of attention over some of a sequence's keys, for attention that is made of several of them.
// Not here: attention over tokens that are all here, which is one recorded op (attention.h); merging and exchanging.
#pragma once
#include "core/exec_context.h"
#include "core/ops/attention.h"

namespace nemo {

// The tensors of an attention: q, out [T, N, H], k, v [T_k, G, H], lse [N, T] fp32: log of the softmax denominators.
struct AttentionTensors {
  Tensor q, k, v, out, lse;
};

// Fills out and lse of the queries that the layout's segments name, and leaves others as they are.
void attention_forward_pass(ExecContext& ctx, const AttentionTensors& tensors, const TokenLayout& tokens,
                            const AttentionOptions& options);

// out and lse are those over all keys, so that each pass gives its part of the gradients: dq [T, N, H] of the queries,
// dk, dv [T_k, G, H] of the keys that the segments name; others are left as they are. No key may be in two segments.
struct AttentionGradients {
  Tensor dq, dk, dv;
};
void attention_backward_pass(ExecContext& ctx, const AttentionGradients& gradients, const Tensor& dout,
                             const AttentionTensors& tensors, const TokenLayout& tokens,
                             const AttentionOptions& options);

// out, lse: fp32 results so far, lse -inf where no key was seen. Adds a pass over further keys.
void attention_merge_pass(ExecContext& ctx, const Tensor& out, const Tensor& lse, const Tensor& part,
                          const Tensor& part_lse);

}  // namespace nemo
