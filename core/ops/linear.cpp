#include "core/ops/linear.h"

#include "core/autograd/tape.h"
#include "core/ops/launch.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gemm/gemm.h"

namespace nemo {

void bias_gradient(ExecContext& ctx, const GradientSlot& slot, const Tensor& dy) {
  const kernels::BiasShape shape{.rows = dy.dim(0), .columns = dy.dim(1), .stride = dy.stride(0)};
  const Tensor scratch = ctx.empty({kernels::kBiasRowBlocks * shape.columns}, DType::fp32, MemoryTag::workspace);
  with_float_type("linear", dy.dtype(), [&](auto t) {
    using T = decltype(t);
    with_float_type("linear", slot.tensor.dtype(), [&](auto g) {
      using Grad = decltype(g);
      launch(ctx, "linear",
             [&] { kernels::bias_grad_cpu(slot.tensor.data<Grad>(), slot.accumulate, dy.data<T>(), shape, scratch.data<float>()); },
             [&] { kernels::bias_grad_cuda(slot.tensor.data<Grad>(), slot.accumulate, dy.data<T>(), shape, scratch.data<float>(), ctx.stream()); });
    });
  });
}

void gemm(ExecContext& ctx, const Tensor& c, const Tensor& a, const Tensor& b, GemmFlags flags, const Tensor& bias) {
  const int64_t m = a.dim(flags.transpose_a ? 1 : 0), k = a.dim(flags.transpose_a ? 0 : 1), n = b.dim(flags.transpose_b ? 0 : 1);
  if (b.dim(flags.transpose_b ? 1 : 0) != k || c.dim(0) != m || c.dim(1) != n)
    throw ShapeError{"gemm", to_string(a.shape()) + (flags.transpose_a ? "^T" : "") + " x " + to_string(b.shape()) + (flags.transpose_b ? "^T" : ""),
                     "does not give " + to_string(c.shape())};
  expect_dtype("gemm", "b", b, a.dtype());
  const kernels::GemmShape shape{.m = m, .n = n, .k = k, .transpose_a = flags.transpose_a, .transpose_b = flags.transpose_b,
                                 .lda = a.stride(0), .ldb = b.stride(0), .ldc = c.stride(0), .beta = flags.accumulate ? 1.0f : 0.0f};
  with_float_type("gemm", a.dtype(), [&](auto t) {
    using In = decltype(t);
    with_float_type("gemm", c.dtype(), [&](auto o) {
      using Out = decltype(o);
      const In* bias_data = bias.defined() ? bias.data<In>() : nullptr;
      launch(ctx, "gemm", [&] { kernels::gemm_cpu(c.data<Out>(), a.data<In>(), b.data<In>(), bias_data, shape); },
             [&] {
               kernels::gemm_cuda(ctx.runtime().cublaslt(), c.data<Out>(), a.data<In>(), b.data<In>(), bias_data, shape,
                                  ctx.runtime().gemm_workspace(), ctx.stream());
             });
    });
  });
}

namespace {

Tensor input_gradient(Backward& back, const ParameterSpan& weight) {
  const Tensor& dy = back.grad_output(0);
  const Tensor dx = back.ctx().empty({dy.dim(0), weight.columns()}, dy.dtype());
  gemm(back.ctx(), dx, dy, weight.value(back.ctx()), {});
  return dx;
}

void weight_gradients(Backward& back, const std::vector<GradientSlot>& slots, const Tensor& x) {
  const Tensor& dy = back.grad_output(0);
  if (slots[0].wanted()) gemm(back.ctx(), slots[0].tensor, dy, x, {.transpose_a = true, .accumulate = slots[0].accumulate});
  if (slots[1].wanted()) bias_gradient(back.ctx(), slots[1], dy);
}

}  // namespace

Tensor linear(ExecContext& ctx, const Tensor& x, const ParameterSpan& weight, const ParameterSpan& bias, const LinearOptions& options) {
  if (x.rank() != 2 || x.dim(1) != weight.columns())
    throw ShapeError{"linear", weight.members().front()->name, "is " + to_string(weight.shape()) + " and x is " + to_string(x.shape())};
  const LinearEntrance* const entrance = options.entrance;
  const Tensor all = entrance == nullptr ? x : entrance->enter(ctx, x)(ctx);
  Tensor y = ctx.empty({all.dim(0), weight.rows()}, x.dtype());
  gemm(ctx, y, all, weight.value(ctx), {.transpose_b = true}, bias.defined() && options.add_bias ? bias.value(ctx) : Tensor());
  OpRecord record{.op = "linear", .inputs = {x}, .params = {weight, bias}, .saved = {weight.trainable() ? x : Tensor()}, .outputs = {y},
                  .grad_input = [weight, entrance](Backward& back) -> std::vector<Tensor> {
                    const Tensor dx = input_gradient(back, weight);
                    return {entrance == nullptr ? dx : entrance->leave_gradient(back.ctx(), dx)(back.ctx())};
                  },
                  .grad_weight = [entrance](Backward& back, const std::vector<GradientSlot>& slots) {
                    weight_gradients(back, slots, entrance == nullptr || !slots[0].wanted() ? back.saved(0) : entrance->enter(back.ctx(), back.saved(0))(back.ctx()));
                  }};
  // x comes while its gradient is formed, and the gradient goes while the weight's is.
  if (entrance != nullptr)
    record.grad_input_and_weight = [weight, entrance](Backward& back, const std::vector<GradientSlot>& slots) -> std::vector<Tensor> {
      ExecContext& ctx = back.ctx();
      const PendingTensor arriving = slots[0].wanted() ? entrance->enter(ctx, back.saved(0)) : PendingTensor();
      const PendingTensor leaving = entrance->leave_gradient(ctx, input_gradient(back, weight));
      weight_gradients(back, slots, arriving ? arriving(ctx) : Tensor());
      return {leaving(ctx)};
    };
  ctx.record(std::move(record));
  return y;
}

Tensor linear_fp32(ExecContext& ctx, const Tensor& x, const ParameterSpan& weight) {
  Tensor y = ctx.empty({x.dim(0), weight.rows()}, DType::fp32, MemoryTag::logits);
  gemm(ctx, y, x, weight.value(ctx), {.transpose_b = true});
  return y;
}

}  // namespace nemo
