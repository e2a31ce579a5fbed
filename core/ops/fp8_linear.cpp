#include "core/ops/fp8_linear.h"

#include "core/autograd/tape.h"
#include "core/error.h"
#include "core/ops/linear.h"
#include "core/ops/quantise.h"

namespace nemo {
namespace {

// dx = dy W reads dy by rows, dW = dy^T x by columns.
Tensor input_gradient(ExecContext& ctx, const QuantisedTensor& dy, const QuantisedWeight& weight) {
  Tensor dx = ctx.empty({dy.payload.dim(0), weight.weight.columns()}, DType::bf16);
  fp8_gemm(ctx, dx, {dy.payload, dy.scale}, {weight.copy.transposed, weight.copy.scale}, {});
  return dx;
}

void weight_gradient(Backward& back, const GradientSlot& slot, const QuantisedTensor& dy) {
  fp8_gemm(back.ctx(), slot.tensor, {dy.transposed, dy.scale}, {back.saved(0), back.saved(1)},
           {.accumulate = slot.accumulate});
}

}  // namespace

Tensor fp8_linear(ExecContext& ctx, const Tensor& x, QuantisedWeight& weight, const ParameterSpan& bias,
                  const LinearOptions& options) {
  if (x.rank() != 2 || x.dim(1) != weight.weight.columns())
    throw ShapeError{"fp8_linear", weight.weight.members().front()->name,
                     "is " + to_string(weight.weight.shape()) + " and x is " + to_string(x.shape())};
  if (!weight.current) quantise_into(ctx, weight.copy, weight.weight.value(ctx));
  weight.current = true;
  // The products read along the dimension they sum over: forward x by rows, the weight's gradient x by columns.
  const bool keep = ctx.tape() != nullptr && weight.weight.trainable();
  const LinearEntrance* const entrance = options.entrance;
  const Tensor all = entrance == nullptr ? x : entrance->enter(ctx, x)(ctx);
  const QuantisedTensor codes = quantise(ctx, all, DType::fp8_e4m3, {.payload = true, .transposed = keep});
  Tensor y = ctx.empty({all.dim(0), weight.weight.rows()}, x.dtype());
  fp8_gemm(ctx, y, {codes.payload, codes.scale}, {weight.copy.payload, weight.copy.scale}, {.fast_accumulation = true},
           bias.defined() && options.add_bias ? bias.value(ctx) : Tensor());
  ctx.record(
      {.op = "fp8_linear",
       .inputs = {x},
       .params = {weight.weight, bias},
       .saved = {codes.transposed, keep ? codes.scale : Tensor()},
       .outputs = {y},
       .grad_input =
           [&weight, entrance](Backward& back) -> std::vector<Tensor> {
             const QuantisedTensor dy =
                 quantise(back.ctx(), back.take_grad_output(0), DType::fp8_e5m2, {.payload = true});
             const Tensor dx = input_gradient(back.ctx(), dy, weight);
             return {entrance == nullptr ? dx : entrance->leave_gradient(back.ctx(), dx)(back.ctx())};
           },
       .grad_weight =
           [](Backward& back, const std::vector<GradientSlot>& slots) {
             if (slots[1].wanted()) bias_gradient(back.ctx(), slots[1], back.grad_output(0));
             if (!slots[0].wanted()) return;
             weight_gradient(
                 back, slots[0],
                 quantise(back.ctx(), back.grad_output(0), DType::fp8_e5m2, {.payload = false, .transposed = true}));
           },
       .grad_input_and_weight = [&weight, entrance](Backward& back, const std::vector<GradientSlot>& slots)
           -> std::vector<Tensor> {  // dy is read once
         if (slots[1].wanted()) bias_gradient(back.ctx(), slots[1], back.grad_output(0));
         QuantisedTensor dy = quantise(back.ctx(), back.take_grad_output(0), DType::fp8_e5m2,
                                       {.payload = true, .transposed = slots[0].wanted()});
         PendingTensor leaving;  // beside the product that gives the weight's gradient
         if (entrance != nullptr) leaving = entrance->leave_gradient(back.ctx(), input_gradient(back.ctx(), dy, weight));
         if (slots[0].wanted()) weight_gradient(back, slots[0], dy);
         dy.transposed = Tensor();
         return {leaving ? leaving(back.ctx()) : input_gradient(back.ctx(), dy, weight)};
       }});
  return y;
}

}  // namespace nemo
