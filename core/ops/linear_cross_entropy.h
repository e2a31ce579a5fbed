// Output projection and softmax cross entropy in one op: logits exist one chunk of tokens at a time.
#pragma once
#include "core/exec_context.h"
#include "core/nn/parameter.h"

namespace nemo {

struct LinearCrossEntropyOptions {
  int64_t num_classes = 0;  // the vocabulary without padding rows
  float softcap = 0;        // 0: none
  // Pretraining: every counted token's gradient is -1 / (loss denominator of StepState), known before the forward. Then the
  // gradients are formed in the forward and logits are computed once. Otherwise the tape gives d loss / d log_prob per token
  // and the backward computes the logits again (DPO, GRPO).
  bool token_weights_known = true;
};

// x [T, D], weight [V, D], labels [T] int32  ->  log_prob [T] fp32: log p(label), 0 where the label is ignored.
// Adds -log_prob to StepState::loss_sum.
Tensor linear_cross_entropy(ExecContext& ctx, const Tensor& x, const ParameterSpan& weight, const Tensor& labels, const LinearCrossEntropyOptions& options);

// Rows of a chunk: enough for a full-rate product, few enough that the logits stay small beside the activations.
int64_t cross_entropy_chunk_rows(ExecContext& ctx, int64_t tokens, int64_t classes, DType dtype);

}  // namespace nemo
