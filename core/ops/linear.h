// y = x W^T + b, with the gradients of x and of W, b apart.
#pragma once
#include "core/exec_context.h"
#include "core/nn/parameter.h"

namespace nemo {

// x [T, in] (row-strided allowed), weight [out, in], bias [out] or undefined  ->  y [T, out].
// add_bias false: y is a summand of the result and the bias comes with another one; its gradient is taken all the same.
Tensor linear(ExecContext& ctx, const Tensor& x, const ParameterSpan& weight, const ParameterSpan& bias = {}, bool add_bias = true);

// The same product with an fp32 result, for logits that somebody compares: two bf16 logits of nearly equal size would be
// rounded to one. Inference only: it records nothing.
Tensor linear_fp32(ExecContext& ctx, const Tensor& x, const ParameterSpan& weight);

// The bias's gradient: dy [T, out] summed over T into the slot.
void bias_gradient(ExecContext& ctx, const GradientSlot& slot, const Tensor& dy);

// The product itself, for ops that need one: c (+)= op(a) op(b) (+ bias), row-major, rows may be strided.
struct GemmFlags { bool transpose_a = false, transpose_b = false, accumulate = false; };
void gemm(ExecContext& ctx, const Tensor& c, const Tensor& a, const Tensor& b, GemmFlags flags, const Tensor& bias = {});

}  // namespace nemo
