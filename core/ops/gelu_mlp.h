// A feed-forward block with gelu between its two linears, as one op: y = gelu(x W1^T + b1) W2^T + b2.
// Not here: other activations and gated ones (core/ops/activation.h between two of core/ops/linear.h).
#pragma once
#include "core/exec_context.h"
#include "core/nn/parameter.h"

namespace nemo {

// x [T, D], up [F, D] with bias [F], down [out, F] with bias [out]  ->  [T, out]; gelu in its tanh form.
// The function and gradients of linear, activation, linear, with what they keep: x, both sides of the activation. On
// CUDA in bf16 the activation runs inside the products beside it, on values not yet rounded; else these three run, bit
// for bit.
Tensor gelu_mlp(ExecContext& ctx, const Tensor& x, const ParameterSpan& up, const ParameterSpan& up_bias,
                const ParameterSpan& down, const ParameterSpan& down_bias);

}  // namespace nemo
