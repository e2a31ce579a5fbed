// y = x W^T + b, with the gradients of x and of W, b apart.
#pragma once
#include "core/exec_context.h"
#include "core/nn/parameter.h"
#include "kernels/gemm/gemm.h"

namespace nemo {

// x [T, in] (row-strided allowed), weight [out, in], bias [out] or undefined  ->  y [T, out].
Tensor linear(ExecContext& ctx, const Tensor& x, const ParameterSpan& weight, const ParameterSpan& bias = {});

// What linear checks first, and what it records last, for ops that make y in another way.
void expect_linear(const Tensor& x, const ParameterSpan& weight);
void record_linear(ExecContext& ctx, const Tensor& x, const ParameterSpan& weight, const ParameterSpan& bias, const Tensor& y);

// The same product with an fp32 result, for logits that somebody compares: two bf16 logits of nearly equal size would be
// rounded to one. Inference only: it records nothing.
Tensor linear_fp32(ExecContext& ctx, const Tensor& x, const ParameterSpan& weight);

// The bias's gradient: dy [T, out] summed over T into the slot.
void bias_gradient(ExecContext& ctx, const GradientSlot& slot, const Tensor& dy);

// Both gradients of y = x W^T + b from dy [T, out] and x [T, in], where the slots want them. On CUDA the first write of both
// in bf16 arithmetic is one product that sums dy on its way, in an order of its own.
void weight_gradients(ExecContext& ctx, const GradientSlot& weight, const GradientSlot& bias, const Tensor& dy, const Tensor& x);

// The product itself, for ops that need one: c (+)= op(a) op(b) (+ bias), row-major, rows may be strided.
struct GemmFlags { bool transpose_a = false, transpose_b = false, accumulate = false; };
void gemm(ExecContext& ctx, const Tensor& c, const Tensor& a, const Tensor& b, GemmFlags flags, const Tensor& bias = {});
// Checks it, and says it to the kernels.
kernels::GemmShape gemm_shape(const Tensor& c, const Tensor& a, const Tensor& b, GemmFlags flags);

}  // namespace nemo
