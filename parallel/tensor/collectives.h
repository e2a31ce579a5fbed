// Ops with a collective inside, recorded like others: each is the other's gradient in pairs.
// Not here: which layer wants which (boundary.h).
#pragma once
#include <string_view>

#include "parallel/comm/process_group.h"

namespace nemo {

// x [T, C] itself; its gradient is the sum of the ranks' gradients.
Tensor copy_to_ranks(ExecContext& ctx, const Tensor& x, const ProcessGroup& group, std::string_view label);
// The sum of the ranks' x [T, C], written over x; every rank's gradient is the result's.
Tensor sum_over_ranks(ExecContext& ctx, const Tensor& x, const ProcessGroup& group, std::string_view label);

// Rows lie over the ranks in rank order. x [T / ranks, C] -> [T, C]; and the sum of the ranks' x [T, C] -> [T / ranks, C].
Tensor gather_rows_of_ranks(ExecContext& ctx, const Tensor& x, const ProcessGroup& group, std::string_view label);
Tensor sum_and_scatter_rows(ExecContext& ctx, const Tensor& x, const ProcessGroup& group, std::string_view label);

// The same without a record, for derivatives and for ops that hold them.
Tensor gathered_rows(ExecContext& ctx, const Tensor& x, const ProcessGroup& group, std::string_view label);
Tensor summed_rows(ExecContext& ctx, const Tensor& x, const ProcessGroup& group, std::string_view label);  // ShapeError where T does not divide

}  // namespace nemo
