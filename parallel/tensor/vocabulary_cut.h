// The loss head over a vocabulary whose rows lie over the tensor ranks: per chunk of tokens two numbers a token and
// rank are exchanged. Not here: the op around it (core/ops/linear_cross_entropy.h).
#pragma once
#include "core/ops/linear_cross_entropy.h"
#include "parallel/tensor/boundary.h"

namespace nemo {

class RankedVocabularyCut final : public VocabularyCut {
 public:
  explicit RankedVocabularyCut(TensorRanks ranks) : ranks_(std::move(ranks)) {}
  Tensor enter(ExecContext& ctx, const Tensor& x) const override;
  Tensor leave_gradient(ExecContext& ctx, const Tensor& dx) const override;
  void merge(ExecContext& ctx, const Tensor& log_prob, const Tensor& lse, const Tensor& labels,
             int64_t classes_per_rank, int64_t num_classes) const override;
  Tensor gather_logits(ExecContext& ctx, const Tensor& logits) const override;

 private:
  TensorRanks ranks_;
};

}  // namespace nemo
