// Activations of the feed-forward block.
#pragma once
#include "core/exec_context.h"
#include "kernels/activation/activation.h"

namespace nemo {

using kernels::Activation;

Tensor activation(ExecContext& ctx, const Tensor& x, Activation kind);  // f(x), any shape, contiguous
Tensor gated_activation(ExecContext& ctx, const Tensor& x, Activation kind);  // x [T, 2F] = gate | up  ->  f(gate) * up [T, F]

}  // namespace nemo
