// What a tensor-parallel plan attaches where the residual stream meets a cut matrix.
//   Shoeybi et al. 2019 (Megatron-LM), arXiv:1909.08053; Korthikanti et al. 2022 (sequence parallelism),
//   arXiv:2205.05198.
// Not here: the loss head (vocabulary_cut.h), what is cut (core/sharding).
#pragma once
#include <string>

#include "core/nn/embedding.h"
#include "core/nn/linear.h"
#include "parallel/comm/process_group.h"

namespace nemo {

// The tensor ranks, and whether the residual stream's rows lie over them (sequence parallelism) or on each of them.
struct TensorRanks {
  ProcessGroup group;
  bool stream_is_cut = false;
};

// Before a matrix whose columns (output features) are cut: all tokens come in.
class ColumnBoundary final : public LinearBoundary, public LinearEntrance {
 public:
  ColumnBoundary(TensorRanks ranks, std::string name) : ranks_(std::move(ranks)), name_(std::move(name)) {}
  const LinearEntrance* entrance() const override { return this; }
  PendingTensor enter(ExecContext& ctx, const Tensor& x) const override;
  PendingTensor leave_gradient(ExecContext& ctx, const Tensor& dx) const override;

 private:
  TensorRanks ranks_;
  std::string name_;  // of the layer, in the labels of collectives
};

// After a matrix whose rows (input features) are cut: the ranks' results are summed, onto the stream's rows.
class RowBoundary final : public LinearBoundary {
 public:
  RowBoundary(TensorRanks ranks, std::string name) : ranks_(std::move(ranks)), name_(std::move(name)) {}
  Tensor leave(ExecContext& ctx, const Tensor& y) const override;

 private:
  TensorRanks ranks_;
  std::string name_;
};

// After a look-up in a table whose rows are cut: every token was found on one rank.
class CutEmbeddingBoundary final : public EmbeddingBoundary {
 public:
  explicit CutEmbeddingBoundary(TensorRanks ranks) : ranks_(std::move(ranks)) {}
  Tensor leave(ExecContext& ctx, const Tensor& rows) const override;

 private:
  TensorRanks ranks_;
};

// The layout of a batch where the stream is cut: this rank's rows of positions and token ids. ShapeError where the
// tokens do not divide.
TokenLayout cut_stream(TokenLayout tokens, int64_t shard_index, int64_t num_shards);

}  // namespace nemo
