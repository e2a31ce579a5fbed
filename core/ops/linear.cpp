#include "core/ops/linear.h"

#include "core/autograd/tape.h"
#include "core/ops/launch.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gemm/gemm_fused.h"

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

namespace {

// Decided by what the device plans for, so that meta leases what the GPU does. False: the library has no such product.
bool gradients_in_one_product(ExecContext& ctx, const GradientSlot& weight, const GradientSlot& bias, const Tensor& dy, const Tensor& x) {
  if (!weight.wanted() || !bias.wanted() || weight.accumulate || bias.accumulate || dy.dtype() != DType::bf16 ||
      weight.tensor.dtype() != bias.tensor.dtype() || ctx.device().plans_for() != DeviceType::cuda)
    return false;
  const kernels::GemmShape shape = gemm_shape(weight.tensor, dy, x, {.transpose_a = true});
  bool done = true;
  with_float_type("linear", weight.tensor.dtype(), [&](auto g) {
    using Grad = decltype(g);
    launch(ctx, "linear", [] {},
           [&] {
             done = kernels::gemm_row_sums_cuda(ctx.runtime().cublaslt(), weight.tensor.data<Grad>(), bias.tensor.data<Grad>(), dy.data<bf16>(), x.data<bf16>(), shape,
                                                ctx.runtime().gemm_workspace(), ctx.stream());
           });
  });
  return done;
}

}  // namespace

void weight_gradients(ExecContext& ctx, const GradientSlot& weight, const GradientSlot& bias, const Tensor& dy, const Tensor& x) {
  if (gradients_in_one_product(ctx, weight, bias, dy, x)) return;
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

Tensor linear(ExecContext& ctx, const Tensor& x, const ParameterSpan& weight, const ParameterSpan& bias) {
  expect_linear(x, weight);
  Tensor y = ctx.empty({x.dim(0), weight.rows()}, x.dtype());
  gemm(ctx, y, x, weight.value(ctx), {.transpose_b = true}, bias.defined() ? bias.value(ctx) : Tensor());
  record_linear(ctx, x, weight, bias, y);
  return y;
}

void expect_linear(const Tensor& x, const ParameterSpan& weight) {
  if (x.rank() != 2 || x.dim(1) != weight.columns())
    throw ShapeError{"linear", weight.members().front()->name, "is " + to_string(weight.shape()) + " and x is " + to_string(x.shape())};
}

void record_linear(ExecContext& ctx, const Tensor& x, const ParameterSpan& weight, const ParameterSpan& bias, const Tensor& y) {
  ctx.record({.op = "linear", .inputs = {x}, .params = {weight, bias}, .saved = {weight.trainable() ? x : Tensor()}, .outputs = {y},
              .grad_input = [weight](Backward& back) -> std::vector<Tensor> {
                const Tensor& dy = back.grad_output(0);
                Tensor dx = back.ctx().empty({dy.dim(0), weight.columns()}, dy.dtype());
                gemm(back.ctx(), dx, dy, weight.value(back.ctx()), {});
                return {dx};
              },
              .grad_weight = [](Backward& back, const std::vector<GradientSlot>& slots) {
                weight_gradients(back.ctx(), slots[0], slots[1], back.grad_output(0), slots[0].wanted() ? back.saved(0) : Tensor());
              }});
}

Tensor linear_fp32(ExecContext& ctx, const Tensor& x, const ParameterSpan& weight) {
  Tensor y = ctx.empty({x.dim(0), weight.rows()}, DType::fp32, MemoryTag::logits);
  gemm(ctx, y, x, weight.value(ctx), {.transpose_b = true});
  return y;
}

}  // namespace nemo
