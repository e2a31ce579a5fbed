// y = x W^T + b with 8-bit floats: x and W as e4m3, the gradient of y as e5m2, each under the scale of its present
// largest magnitude.  Not here: the linear in the compute dtype (core/ops/linear.h).
#pragma once
#include "core/exec_context.h"
#include "core/nn/quantised_weight.h"
#include "core/ops/linear.h"

namespace nemo {

// x [T, in] bf16 (row-strided allowed), weight [out, in], bias [out] bf16 or undefined  ->  y [T, out] bf16. T, in and
// out are multiples of 16. Kept for the backward: x in 8 bits. The weight's copy is made at its first use after an
// update. Options: as in linear.
Tensor fp8_linear(ExecContext& ctx, const Tensor& x, QuantisedWeight& weight, const ParameterSpan& bias = {}, const LinearOptions& options = {});

}  // namespace nemo
