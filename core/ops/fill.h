// Initial values of parameters, and constants. Not here: when they are drawn (core/nn/parameter_store.h).
#pragma once
#include "core/exec_context.h"
#include "core/nn/parameter.h"

namespace nemo {

// Fills `to` (the local slice of `parameter`, without padding rows) from (seed, parameter name, global index).
void fill(ExecContext& ctx, const Tensor& to, const Parameter& parameter, uint64_t seed);

// One value everywhere; contiguous, fp32 or bf16.
void fill(ExecContext& ctx, const Tensor& to, float value);

}  // namespace nemo
