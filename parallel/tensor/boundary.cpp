#include "parallel/tensor/boundary.h"

#include "core/error.h"
#include "parallel/tensor/collectives.h"

namespace nemo {
namespace {

Tensor sum_onto_stream(ExecContext& ctx, const Tensor& y, const TensorRanks& ranks, const std::string& label) {
  return ranks.stream_is_cut ? sum_and_scatter_rows(ctx, y, ranks.group, label)
                             : sum_over_ranks(ctx, y, ranks.group, label);
}

}  // namespace

PendingTensor ColumnBoundary::enter(ExecContext& ctx, const Tensor& x) const {
  if (!ranks_.stream_is_cut) return [x](ExecContext&) { return x; };
  return start_gathering_rows(ctx, x, ranks_.group, name_ + " input");
}

PendingTensor ColumnBoundary::leave_gradient(ExecContext& ctx, const Tensor& dx) const {
  const std::string label = name_ + " input gradient";
  return ranks_.stream_is_cut ? start_summing_rows(ctx, dx, ranks_.group, label)
                              : start_summing(ctx, dx, ranks_.group, label);
}

Tensor RowBoundary::leave(ExecContext& ctx, const Tensor& y) const {
  return sum_onto_stream(ctx, y, ranks_, name_ + " output");
}

Tensor CutEmbeddingBoundary::leave(ExecContext& ctx, const Tensor& rows) const {
  return sum_onto_stream(ctx, rows, ranks_, "embedding output");
}

TokenLayout cut_stream(TokenLayout tokens, int64_t shard_index, int64_t num_shards) {
  if (num_shards == 1) return tokens;
  if (tokens.num_tokens % num_shards != 0)
    throw ShapeError{"sequence_parallel", std::to_string(tokens.num_tokens) + " tokens",
                     "do not divide over " + std::to_string(num_shards) + " tensor ranks"};
  const int64_t own = tokens.num_tokens / num_shards;
  tokens.own_positions = tokens.positions.slice(0, shard_index * own, own);
  if (tokens.token_ids.defined()) tokens.own_token_ids = tokens.token_ids.slice(0, shard_index * own, own);
  return tokens;
}

}  // namespace nemo
