// Rows of a matrix in another order: from rank after rank to the order of the sequences, and back.
#pragma once
#include "core/exec_context.h"

namespace nemo {

// y[r] = x[order[r]]; x [T, C] contiguous, order [T] int32, a permutation. Records nothing.
Tensor reordered_rows(ExecContext& ctx, const Tensor& x, const Tensor& order);

}  // namespace nemo
