#include "core/ops/fp8_linear.h"

#include "core/autograd/tape.h"
#include "core/error.h"
#include "core/ops/linear.h"
#include "core/ops/quantise.h"

namespace nemo {
namespace {

// dy, quantised by whichever derivative runs first: by rows for dx = dy W, by columns for dW = dy^T x. The bf16 dy is
// let go.
QuantisedTensor quantised_gradient(Backward& back, bool transposed) {
  std::vector<Tensor>& shared = back.shared();
  if (shared.empty()) {
    const Tensor dy = back.take_grad_output(0);
    const QuantisedTensor q = quantise(back.ctx(), dy, DType::fp8_e5m2, {.payload = true, .transposed = transposed});
    shared = {q.payload, q.transposed, q.scale};
  }
  return {shared[0], shared[1], shared[2]};
}

}  // namespace

Tensor fp8_linear(ExecContext& ctx, const Tensor& x, QuantisedWeight& weight, const ParameterSpan& bias) {
  if (x.rank() != 2 || x.dim(1) != weight.weight.columns())
    throw ShapeError{"fp8_linear", weight.weight.members().front()->name,
                     "is " + to_string(weight.weight.shape()) + " and x is " + to_string(x.shape())};
  if (!weight.current) quantise_into(ctx, weight.copy, weight.weight.value(ctx));
  weight.current = true;
  // The products read along the dimension they sum over: forward x by rows, the weight's gradient x by columns.
  const bool keep = ctx.tape() != nullptr && weight.weight.trainable();
  const QuantisedTensor codes = quantise(ctx, x, DType::fp8_e4m3, {.payload = true, .transposed = keep});
  Tensor y = ctx.empty({x.dim(0), weight.weight.rows()}, x.dtype());
  fp8_gemm(ctx, y, {codes.payload, codes.scale}, {weight.copy.payload, weight.copy.scale}, {.fast_accumulation = true},
           bias.defined() ? bias.value(ctx) : Tensor());
  ctx.record({.op = "fp8_linear",
              .inputs = {x},
              .params = {weight.weight, bias},
              .saved = {codes.transposed, keep ? codes.scale : Tensor()},
              .outputs = {y},
              .grad_input = [&weight](Backward& back) -> std::vector<Tensor> {
                const QuantisedTensor dy = quantised_gradient(back, back.weight_gradient_follows());
                Tensor dx = back.ctx().empty({dy.payload.dim(0), weight.weight.columns()}, DType::bf16);
                fp8_gemm(back.ctx(), dx, {dy.payload, dy.scale}, {weight.copy.transposed, weight.copy.scale}, {});
                back.shared()[0] = Tensor();
                return {dx};
              },
              .grad_weight =
                  [](Backward& back, const std::vector<GradientSlot>& slots) {
                    if (slots[1].wanted()) bias_gradient(back.ctx(), slots[1], back.grad_output(0));
                    if (!slots[0].wanted()) return;
                    const QuantisedTensor dy = quantised_gradient(back, true);
                    fp8_gemm(back.ctx(), slots[0].tensor, {dy.transposed, dy.scale}, {back.saved(0), back.saved(1)},
                             {.accumulate = slots[0].accumulate});
                    back.shared()[1] = Tensor();
                  }});
  return y;
}

}  // namespace nemo
