// y = x W^T + b, with the gradients of x and of W, b apart.
#pragma once
#include <functional>

#include "core/exec_context.h"
#include "core/nn/parameter.h"
#include "kernels/gemm/gemm.h"

namespace nemo {

// A tensor on its way: the call ends the way, once.
using PendingTensor = std::function<Tensor(ExecContext&)>;

// How rows come to a product whose output features lie over several ranks, each of which needs all rows. A plan implements it;
// the op starts the exchanges of its backward early, so that they run beside its products.
class LinearEntrance {
 public:
  virtual ~LinearEntrance() = default;
  virtual PendingTensor enter(ExecContext& ctx, const Tensor& x) const = 0;            // this rank's rows -> all T
  virtual PendingTensor leave_gradient(ExecContext& ctx, const Tensor& dx) const = 0;  // a summand for all T -> the gradient of this rank's rows
};

// add_bias false: y is a summand of the result and the bias comes with another one; its gradient is taken all the same.
// entrance null: x is all rows.
struct LinearOptions {
  bool add_bias = true;
  const LinearEntrance* entrance = nullptr;
};

// x [T, in] (row-strided allowed), weight [out, in], bias [out] or undefined  ->  y [T, out].
Tensor linear(ExecContext& ctx, const Tensor& x, const ParameterSpan& weight, const ParameterSpan& bias = {}, const LinearOptions& options = {});

// What linear checks first, and what it records last, for ops that make y in another way.
void expect_linear(const Tensor& x, const ParameterSpan& weight);
void record_linear(ExecContext& ctx, const Tensor& x, const ParameterSpan& weight, const ParameterSpan& bias, const Tensor& y);

// The same product with an fp32 result, for logits that somebody compares: two bf16 logits of nearly equal size would be
// rounded to one. Inference only: it records nothing.
Tensor linear_fp32(ExecContext& ctx, const Tensor& x, const ParameterSpan& weight);

// The bias's gradient: dy [T, out] summed over T into the slot.
void bias_gradient(ExecContext& ctx, const GradientSlot& slot, const Tensor& dy);

// Both gradients of y = x W^T + b from dy [T, out] and x [T, in], where the slots want them.
void weight_gradients(ExecContext& ctx, const GradientSlot& weight, const GradientSlot& bias, const Tensor& dy, const Tensor& x);

// The product itself, for ops that need one: c (+)= op(a) op(b) (+ bias), row-major, rows may be strided.
struct GemmFlags { bool transpose_a = false, transpose_b = false, accumulate = false; };
void gemm(ExecContext& ctx, const Tensor& c, const Tensor& a, const Tensor& b, GemmFlags flags, const Tensor& bias = {});
// Checks it, and says it to the kernels.
kernels::GemmShape gemm_shape(const Tensor& c, const Tensor& a, const Tensor& b, GemmFlags flags);

}  // namespace nemo
