// Rows looked up by index: of a token or position table, or of an activation.
// Not here: consecutive rows and columns, which are views (core/tensor/tensor.h).
#pragma once
#include "core/exec_context.h"
#include "core/nn/parameter.h"

namespace nemo {

// y[t] = table[ids[t]]; ids [T] int32; table [V, D] -> y [T, D]. Where the table is a slice of rows, ids of other rows give
// zeros: the sum over the slices is the whole.
Tensor embedding(ExecContext& ctx, const Tensor& ids, const ParameterSpan& table);

// x[t] + table[ids[t]], written over x, which must have no other reader.
Tensor add_embedding(ExecContext& ctx, const Tensor& x, const Tensor& ids, const ParameterSpan& table);

// y[r] = x[rows[r]]; x [T, D] contiguous, rows [R] int32 -> y [R, D].
Tensor gather_rows(ExecContext& ctx, const Tensor& x, const Tensor& rows);

}  // namespace nemo
