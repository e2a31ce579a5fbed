#include "core/ops/activation.h"

#include "core/autograd/tape.h"
#include "core/ops/launch.h"
#include "core/ops/quantise.h"

namespace nemo {

Tensor activation(ExecContext& ctx, const Tensor& x, Activation kind) {
  const Tensor y = ctx.empty(x.shape(), x.dtype());
  const AmaxRoom amax = amax_room(ctx, y);
  with_float_type("activation", x.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(ctx, "activation", [&] { kernels::activation_forward_cpu(y.data<T>(), x.data<T>(), kind, x.numel()); amax.collect_cpu(y); },
           [&] { kernels::activation_forward_amax_cuda(y.data<T>(), x.data<T>(), kind, x.numel(), amax.data(), ctx.stream()); });
  });
  ctx.record({.op = "activation", .inputs = {x}, .saved = {x}, .outputs = {y},
              .grad_input = [kind](Backward& back) -> std::vector<Tensor> {
                ExecContext& ctx = back.ctx();
                const Tensor dy = back.take_grad_output(0), x = back.take_saved(0);
                const Tensor dx = dy.sole_owner() ? dy.with_id(ctx.next_id()) : ctx.empty(dy.shape(), dy.dtype());
                const AmaxRoom amax = amax_room(ctx, dx);
                with_float_type("activation", dy.dtype(), [&](auto t) {
                  using T = decltype(t);
                  launch(ctx, "activation", [&] { kernels::activation_backward_cpu(dx.data<T>(), dy.data<T>(), x.data<T>(), kind, dx.numel()); amax.collect_cpu(dx); },
                         [&] { kernels::activation_backward_amax_cuda(dx.data<T>(), dy.data<T>(), x.data<T>(), kind, dx.numel(), amax.data(), ctx.stream()); });
                });
                return {amax.on(dx)};
              }});
  return amax.on(y);
}

Tensor gated_activation(ExecContext& ctx, const Tensor& x, Activation kind) {
  const kernels::GatedShape shape{.rows = x.dim(0), .ffn = x.dim(1) / 2};
  const Tensor y = ctx.empty({shape.rows, shape.ffn}, x.dtype());
  const AmaxRoom amax = amax_room(ctx, y);
  with_float_type("gated_activation", x.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(ctx, "gated_activation", [&] { kernels::gated_forward_cpu(y.data<T>(), x.data<T>(), kind, shape); amax.collect_cpu(y); },
           [&] { kernels::gated_forward_amax_cuda(y.data<T>(), x.data<T>(), kind, shape, amax.data(), ctx.stream()); });
  });
  ctx.record({.op = "gated_activation", .inputs = {x}, .saved = {x}, .outputs = {y},
              .grad_input = [kind, shape](Backward& back) -> std::vector<Tensor> {
                ExecContext& ctx = back.ctx();
                const Tensor dy = back.take_grad_output(0), x = back.take_saved(0);
                const Tensor dx = x.sole_owner() ? x.with_id(ctx.next_id()) : ctx.empty(x.shape(), x.dtype());
                const AmaxRoom amax = amax_room(ctx, dx);
                with_float_type("gated_activation", dy.dtype(), [&](auto t) {
                  using T = decltype(t);
                  launch(ctx, "gated_activation", [&] { kernels::gated_backward_cpu(dx.data<T>(), dy.data<T>(), x.data<T>(), kind, shape); amax.collect_cpu(dx); },
                         [&] { kernels::gated_backward_amax_cuda(dx.data<T>(), dy.data<T>(), x.data<T>(), kind, shape, amax.data(), ctx.stream()); });
                });
                return {amax.on(dx)};
              }});
  return amax.on(y);
}

}  // namespace nemo
