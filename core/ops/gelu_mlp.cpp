#include "core/ops/gelu_mlp.h"

#include "core/autograd/tape.h"
#include "core/ops/launch.h"
#include "core/ops/linear.h"
#include "kernels/activation/activation.h"
#include "kernels/gemm/gemm_fused.h"

namespace nemo {
namespace {

constexpr auto kGelu = kernels::Activation::gelu_tanh;

// pre = x W^T + b and activated = gelu(pre), in one product where the library has it. That product does not round pre before
// gelu, so where bits must not depend on what is recomputed the plain parts run.
void up_and_gelu(ExecContext& ctx, const Tensor& pre, const Tensor& activated, const Tensor& x, const Tensor& weight,
                 const Tensor& bias) {
  bool done = false;
  if (x.dtype() == DType::bf16 && !ctx.deterministic()) {
    const kernels::GemmShape shape = gemm_shape(activated, x, weight, {.transpose_b = true});
    launch(
        ctx, "gelu_mlp", [] {},
        [&] {
          done = kernels::gemm_bias_gelu_cuda(ctx.runtime().cublaslt(), activated.data<bf16>(), pre.data<bf16>(),
                                              x.data<bf16>(), weight.data<bf16>(), bias.data<bf16>(), shape,
                                              ctx.runtime().gemm_workspace(), ctx.stream());
        });
  }
  if (done) return;
  gemm(ctx, pre, x, weight, {.transpose_b = true}, bias);
  with_float_type("gelu_mlp", x.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(
        ctx, "gelu_mlp",
        [&] { kernels::activation_forward_cpu(activated.data<T>(), pre.data<T>(), kGelu, pre.numel()); },
        [&] {
          kernels::activation_forward_cuda(activated.data<T>(), pre.data<T>(), kGelu, pre.numel(), ctx.stream());
        });
  });
}

// (dy W) gelu'(pre).
Tensor gradient_before_gelu(ExecContext& ctx, const Tensor& dy, const Tensor& weight, const Tensor& pre) {
  const Tensor gradient = ctx.empty(pre.shape(), pre.dtype());
  bool done = false;
  if (dy.dtype() == DType::bf16 && !ctx.deterministic()) {
    const kernels::GemmShape shape = gemm_shape(gradient, dy, weight, {});
    launch(
        ctx, "gelu_mlp", [] {},
        [&] {
          done = kernels::gemm_gelu_gradient_cuda(ctx.runtime().cublaslt(), gradient.data<bf16>(), pre.data<bf16>(),
                                                  dy.data<bf16>(), weight.data<bf16>(), shape,
                                                  ctx.runtime().gemm_workspace(), ctx.stream());
        });
  }
  if (done) return gradient;
  gemm(ctx, gradient, dy, weight, {});
  with_float_type("gelu_mlp", dy.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(
        ctx, "gelu_mlp",
        [&] {
          kernels::activation_backward_cpu(gradient.data<T>(), gradient.data<T>(), pre.data<T>(), kGelu, pre.numel());
        },
        [&] {
          kernels::activation_backward_cuda(gradient.data<T>(), gradient.data<T>(), pre.data<T>(), kGelu, pre.numel(),
                                            ctx.stream());
        });
  });
  return gradient;
}

}  // namespace

Tensor gelu_mlp(ExecContext& ctx, const Tensor& x, const ParameterSpan& up, const ParameterSpan& up_bias,
                const ParameterSpan& down, const ParameterSpan& down_bias) {
  expect_linear(x, up);
  const Tensor pre = ctx.empty({x.dim(0), up.rows()}, x.dtype()), activated = ctx.empty(pre.shape(), x.dtype());
  up_and_gelu(ctx, pre, activated, x, up.value(ctx), up_bias.value(ctx));
  record_linear(ctx, x, up, up_bias, pre);

  // The tape sees the activation and the second linear as one step from `pre`, whose gradient one product gives.
  expect_linear(activated, down);
  Tensor y = ctx.empty({x.dim(0), down.rows()}, x.dtype());
  gemm(ctx, y, activated, down.value(ctx), {.transpose_b = true}, down_bias.value(ctx));
  ctx.record({.op = "gelu_linear",
              .inputs = {pre},
              .params = {down, down_bias},
              .saved = {pre, down.trainable() ? activated : Tensor()},
              .outputs = {y},
              .grad_input = [down](Backward& back) -> std::vector<Tensor> {
                return {gradient_before_gelu(back.ctx(), back.grad_output(0), down.value(back.ctx()), back.saved(0))};
              },
              .grad_weight =
                  [](Backward& back, const std::vector<GradientSlot>& slots) {
                    weight_gradients(back.ctx(), slots[0], slots[1], back.grad_output(0),
                                     slots[0].wanted() ? back.saved(1) : Tensor());
                  }});
  return y;
}

}  // namespace nemo
