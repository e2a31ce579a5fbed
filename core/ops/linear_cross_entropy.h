// Output projection and softmax cross entropy in one op: logits exist one chunk of tokens at a time.
#pragma once
#include "core/exec_context.h"
#include "core/nn/parameter.h"

namespace nemo {

// What a vocabulary whose rows lie over several ranks adds to the op: each rank makes the logits of its own classes. A plan
// implements it (parallel/tensor/vocabulary_cut.h).
class VocabularyCut {
 public:
  virtual ~VocabularyCut() = default;
  // This rank's rows of the residual stream -> all T tokens; and a summand of their gradient -> the gradient of those rows.
  virtual Tensor enter(ExecContext& ctx, const Tensor& x) const = 0;
  virtual Tensor leave_gradient(ExecContext& ctx, const Tensor& dx) const = 0;
  // log_prob, lse [rows] fp32 of this rank's classes become those of all; see kernels/cross_entropy/vocabulary_cut.h.
  virtual void merge(ExecContext& ctx, const Tensor& log_prob, const Tensor& lse, const Tensor& labels, int64_t classes_per_rank, int64_t num_classes) const = 0;
  // [R, V of this rank] -> [R, V of all]
  virtual Tensor gather_logits(ExecContext& ctx, const Tensor& logits) const = 0;
};

struct LinearCrossEntropyOptions {
  int64_t num_classes = 0;  // the vocabulary without padding rows
  float softcap = 0;        // 0: none
  // Pretraining: every counted token's gradient is -1 / (loss denominator of StepState), known before the forward. Then the
  // gradients are formed in the forward and logits are computed once. Otherwise the tape gives d loss / d log_prob per token
  // and the backward computes the logits again (DPO, GRPO).
  bool token_weights_known = true;
  const VocabularyCut* cut = nullptr;  // null: all classes are here
};

// x [T, D], weight [V, D], labels [T] int32  ->  log_prob [T] fp32: log p(label), 0 where the label is ignored.
// Adds -log_prob to StepState::loss_sum. With a cut, weight is this rank's rows and x its rows of the stream.
Tensor linear_cross_entropy(ExecContext& ctx, const Tensor& x, const ParameterSpan& weight, const Tensor& labels, const LinearCrossEntropyOptions& options);

// Rows of a chunk: enough for a full-rate product, few enough that the logits stay small beside the activations.
int64_t cross_entropy_chunk_rows(ExecContext& ctx, int64_t tokens, int64_t classes, DType dtype);

}  // namespace nemo
