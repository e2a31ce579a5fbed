// Ops with a collective inside, recorded like others, and the collectives alone, for derivatives and ops that hold
// them. Not here: which layer wants which (boundary.h).
#pragma once
#include <string_view>

#include "core/ops/linear.h"
#include "parallel/comm/process_group.h"

namespace nemo {

// The sum of the ranks' x [T, C], written over x; every rank's gradient is the result's.
Tensor sum_over_ranks(ExecContext& ctx, const Tensor& x, const ProcessGroup& group, std::string_view label);
// The same, of which each rank gets its part of the rows [T / ranks, C], in rank order. ShapeError where T does not
// divide.
Tensor sum_and_scatter_rows(ExecContext& ctx, const Tensor& x, const ProcessGroup& group, std::string_view label);

// Without a record, started: x [T / ranks, C] -> all rows; a sum of x [T, C] -> this rank's rows; a sum, written over
// x.
PendingTensor start_gathering_rows(ExecContext& ctx, const Tensor& x, const ProcessGroup& group,
                                   std::string_view label);
PendingTensor start_summing_rows(ExecContext& ctx, const Tensor& x, const ProcessGroup& group, std::string_view label);
PendingTensor start_summing(ExecContext& ctx, const Tensor& x, const ProcessGroup& group, std::string_view label);

// And waited for.
inline Tensor gathered_rows(ExecContext& ctx, const Tensor& x, const ProcessGroup& group, std::string_view label) {
  return start_gathering_rows(ctx, x, group, label)(ctx);
}
inline Tensor summed_rows(ExecContext& ctx, const Tensor& x, const ProcessGroup& group, std::string_view label) {
  return start_summing_rows(ctx, x, group, label)(ctx);
}

}  // namespace nemo
