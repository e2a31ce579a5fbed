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

void weight_gradients(ExecContext& ctx, const GradientSlot& weight, const GradientSlot& bias, const Tensor& dy, const Tensor& x) {
  if (weight.wanted()) gemm(ctx, weight.tensor, dy, x, {.transpose_a = true, .accumulate = weight.accumulate});
  if (bias.wanted()) bias_gradient(ctx, bias, dy);
}

kernels::GemmShape gemm_shape(const Tensor& c, const Tensor& a, const Tensor& b, GemmFlags flags) {
  const int64_t m = a.dim(flags.transpose_a ? 1 : 0), k = a.dim(flags.transpose_a ? 0 : 1), n = b.dim(flags.transpose_b ? 0 : 1);
  if (b.dim(flags.transpose_b ? 1 : 0) != k || c.dim(0) != m || c.dim(1) != n)
    throw ShapeError{"gemm", to_string(a.shape()) + (flags.transpose_a ? "^T" : "") + " x " + to_string(b.shape()) + (flags.transpose_b ? "^T" : ""),
                     "does not give " + to_string(c.shape())};
  expect_dtype("gemm", "b", b, a.dtype());
  return {.m = m, .n = n, .k = k, .transpose_a = flags.transpose_a, .transpose_b = flags.transpose_b, .lda = a.stride(0), .ldb = b.stride(0), .ldc = c.stride(0),
          .beta = flags.accumulate ? 1.0f : 0.0f};
}

void gemm(ExecContext& ctx, const Tensor& c, const Tensor& a, const Tensor& b, GemmFlags flags, const Tensor& bias) {
  const kernels::GemmShape shape = gemm_shape(c, a, b, flags);
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

void record(ExecContext& ctx, const Tensor& x, const ParameterSpan& weight, const ParameterSpan& bias, const Tensor& y, const LinearEntrance* entrance) {
  const auto weight_side = [](Backward& back, const std::vector<GradientSlot>& slots, const Tensor& x) {
    weight_gradients(back.ctx(), slots[0], slots[1], back.grad_output(0), x);
  };
  OpRecord record{.op = "linear", .inputs = {x}, .params = {weight, bias}, .saved = {weight.trainable() ? x : Tensor()}, .outputs = {y},
                  .grad_input = [weight, entrance](Backward& back) -> std::vector<Tensor> {
                    const Tensor dx = input_gradient(back, weight);
                    return {entrance == nullptr ? dx : entrance->leave_gradient(back.ctx(), dx)(back.ctx())};
                  },
                  .grad_weight = [entrance, weight_side](Backward& back, const std::vector<GradientSlot>& slots) {
                    const bool all_rows_here = entrance == nullptr || !slots[0].wanted();
                    weight_side(back, slots, all_rows_here ? back.saved(0) : entrance->enter(back.ctx(), back.saved(0))(back.ctx()));
                  }};
  // x comes while its gradient is formed, and the gradient goes while the weight's is.
  if (entrance != nullptr)
    record.grad_input_and_weight = [weight, entrance, weight_side](Backward& back, const std::vector<GradientSlot>& slots) -> std::vector<Tensor> {
      ExecContext& ctx = back.ctx();
      const PendingTensor arriving = slots[0].wanted() ? entrance->enter(ctx, back.saved(0)) : PendingTensor();
      const PendingTensor leaving = entrance->leave_gradient(ctx, input_gradient(back, weight));
      weight_side(back, slots, arriving ? arriving(ctx) : Tensor());
      return {leaving(ctx)};
    };
  ctx.record(std::move(record));
}

}  // namespace

Tensor linear(ExecContext& ctx, const Tensor& x, const ParameterSpan& weight, const ParameterSpan& bias, const LinearOptions& options) {
  expect_linear(x, weight);
  const Tensor all = options.entrance == nullptr ? x : options.entrance->enter(ctx, x)(ctx);
  Tensor y = ctx.empty({all.dim(0), weight.rows()}, x.dtype());
  gemm(ctx, y, all, weight.value(ctx), {.transpose_b = true}, bias.defined() && options.add_bias ? bias.value(ctx) : Tensor());
  record(ctx, x, weight, bias, y, options.entrance);
  return y;
}

void expect_linear(const Tensor& x, const ParameterSpan& weight) {
  if (x.rank() != 2 || x.dim(1) != weight.columns())
    throw ShapeError{"linear", weight.members().front()->name, "is " + to_string(weight.shape()) + " and x is " + to_string(x.shape())};
}

void record_linear(ExecContext& ctx, const Tensor& x, const ParameterSpan& weight, const ParameterSpan& bias, const Tensor& y) {
  record(ctx, x, weight, bias, y, nullptr);
}

Tensor linear_fp32(ExecContext& ctx, const Tensor& x, const ParameterSpan& weight) {
  Tensor y = ctx.empty({x.dim(0), weight.rows()}, DType::fp32, MemoryTag::logits);
  gemm(ctx, y, x, weight.value(ctx), {.transpose_b = true});
  return y;
}

}  // namespace nemo
