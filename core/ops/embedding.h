// Rows looked up by index: token embedding, with a learned position table where the model has one; rows of an activation.
// Not here: consecutive rows and columns, which are views (core/tensor/tensor.h).
#pragma once
#include "core/exec_context.h"
#include "core/nn/parameter.h"

namespace nemo {

// y[t] = table[ids[t]] (+ positions_table[positions[t]]); ids, positions [T] int32; table [V, D] -> y [T, D].
Tensor embedding(ExecContext& ctx, const Tensor& ids, const ParameterSpan& table, const Tensor& positions = {}, const ParameterSpan& positions_table = {});

// y[r] = x[rows[r]]; x [T, D] contiguous, rows [R] int32 -> y [R, D].
Tensor gather_rows(ExecContext& ctx, const Tensor& x, const Tensor& rows);

}  // namespace nemo
