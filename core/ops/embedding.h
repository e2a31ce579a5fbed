// Token embedding, with a learned position table where the model has one.
#pragma once
#include "core/exec_context.h"
#include "core/nn/parameter.h"

namespace nemo {

// y[t] = table[ids[t]] (+ positions_table[positions[t]]); ids, positions [T] int32; table [V, D] -> y [T, D].
Tensor embedding(ExecContext& ctx, const Tensor& ids, const ParameterSpan& table, const Tensor& positions = {}, const ParameterSpan& positions_table = {});

}  // namespace nemo
