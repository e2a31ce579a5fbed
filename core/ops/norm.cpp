#include "core/ops/norm.h"

#include "core/autograd/tape.h"
#include "core/ops/launch.h"
#include "kernels/norm/layer_norm.h"
#include "kernels/norm/rms_norm.h"

namespace nemo {
namespace {

template <class T> T* data_or_null(const Tensor& x) { return x.defined() ? x.data<T>() : nullptr; }

// What all norms start with: shapes checked, outputs leased. Without a branch the residual is x under a new identity, so
// that its later gradient comes back through this op and is added in the same kernel.
NormResult prepare(ExecContext& ctx, const char* op, const Tensor& x, const Tensor& branch, const ParameterSpan& weight) {
  if (x.rank() != 2 || !x.is_contiguous()) throw ShapeError{op, "x", "is " + to_string(x.shape()) + ", expected contiguous rows"};
  if (weight.rows() != x.dim(1)) throw ShapeError{op, weight.members().front()->name, "is " + to_string(weight.shape()) + " and x is " + to_string(x.shape())};
  if (branch.defined()) expect_shape(op, "branch", branch, x.shape());
  return {ctx.empty(x.shape(), x.dtype()), branch.defined() ? ctx.empty(x.shape(), x.dtype()) : x.with_id(ctx.next_id())};
}

// Where the input's gradient goes: over a gradient that nobody else reads, else into new memory.
Tensor place_gradient(ExecContext& ctx, const Tensor& dy, const Tensor& dsum) {
  for (const Tensor* candidate : {&dsum, &dy})
    if (candidate->defined() && candidate->sole_owner() && candidate->is_contiguous()) return candidate->with_id(ctx.next_id());
  return ctx.empty(dy.shape(), dy.dtype());
}

// x and branch receive the same gradient.
std::vector<Tensor> for_inputs(const Tensor& dx, bool has_branch) {
  return has_branch ? std::vector<Tensor>{dx, dx} : std::vector<Tensor>{dx};
}

std::vector<Tensor> inputs_of(const Tensor& x, const Tensor& branch) {
  return branch.defined() ? std::vector<Tensor>{x, branch} : std::vector<Tensor>{x};
}

Tensor weight_scratch(ExecContext& ctx, int64_t hidden) {
  return ctx.empty({kernels::norm_scratch_floats(hidden)}, DType::fp32, MemoryTag::workspace);
}

Tensor rms_norm_grad_input(Backward& back, const ParameterSpan& weight) {
  ExecContext& ctx = back.ctx();
  const Tensor dy = back.take_grad_output(0), dsum = back.take_grad_output(1);
  if (!dy.defined()) return dsum;
  const Tensor s = back.saved(0), rstd = back.saved(1), w = weight.value(ctx), dx = place_gradient(ctx, dy, dsum);
  const kernels::RmsNormSize size{.rows = s.dim(0), .hidden = s.dim(1)};
  with_float_type("rms_norm", dy.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(ctx, "rms_norm",
           [&] { kernels::rms_norm_backward_input_cpu(dx.data<T>(), dy.data<T>(), data_or_null<T>(dsum), s.data<T>(), rstd.data<float>(), w.data<T>(), size); },
           [&] { kernels::rms_norm_backward_input_cuda(dx.data<T>(), dy.data<T>(), data_or_null<T>(dsum), s.data<T>(), rstd.data<float>(), w.data<T>(), size, ctx.stream()); });
  });
  return dx;
}

void rms_norm_grad_weight(ExecContext& ctx, const GradientSlot& slot, const Tensor& dy, const Tensor& s, const Tensor& rstd,
                          const kernels::RmsNormSize& size) {
  const Tensor scratch = weight_scratch(ctx, size.hidden);
  with_float_type("rms_norm", dy.dtype(), [&](auto t) {
    using T = decltype(t);
    with_float_type("rms_norm", slot.tensor.dtype(), [&](auto g) {
      using Grad = decltype(g);
      launch(ctx, "rms_norm",
             [&] { kernels::rms_norm_backward_weight_cpu(slot.tensor.data<Grad>(), slot.accumulate, dy.data<T>(), s.data<T>(), rstd.data<float>(), size, scratch.data<float>()); },
             [&] { kernels::rms_norm_backward_weight_cuda(slot.tensor.data<Grad>(), slot.accumulate, dy.data<T>(), s.data<T>(), rstd.data<float>(), size, scratch.data<float>(), ctx.stream()); });
    });
  });
}

Tensor layer_norm_grad_input(Backward& back, const ParameterSpan& weight) {
  ExecContext& ctx = back.ctx();
  const Tensor dy = back.take_grad_output(0), dsum = back.take_grad_output(1);
  if (!dy.defined()) return dsum;
  const Tensor s = back.saved(0), mean = back.saved(1), rstd = back.saved(2), w = weight.value(ctx), dx = place_gradient(ctx, dy, dsum);
  const kernels::LayerNormSize size{.rows = s.dim(0), .hidden = s.dim(1)};
  with_float_type("layer_norm", dy.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(ctx, "layer_norm",
           [&] { kernels::layer_norm_backward_input_cpu(dx.data<T>(), dy.data<T>(), data_or_null<T>(dsum), s.data<T>(), mean.data<float>(), rstd.data<float>(), w.data<T>(), size); },
           [&] { kernels::layer_norm_backward_input_cuda(dx.data<T>(), dy.data<T>(), data_or_null<T>(dsum), s.data<T>(), mean.data<float>(), rstd.data<float>(), w.data<T>(), size, ctx.stream()); });
  });
  return dx;
}

void layer_norm_grad_weight(Backward& back, const std::vector<GradientSlot>& slots) {
  ExecContext& ctx = back.ctx();
  const Tensor& dy = back.grad_output(0);
  if (!dy.defined()) return;
  const Tensor s = back.saved(0), mean = back.saved(1), rstd = back.saved(2), scratch = weight_scratch(ctx, s.dim(1));
  const kernels::LayerNormSize size{.rows = s.dim(0), .hidden = s.dim(1)};
  const DType grad_dtype = (slots[0].wanted() ? slots[0] : slots[1]).tensor.dtype();
  with_float_type("layer_norm", dy.dtype(), [&](auto t) {
    using T = decltype(t);
    with_float_type("layer_norm", grad_dtype, [&](auto g) {
      using Grad = decltype(g);
      Grad *const dweight = data_or_null<Grad>(slots[0].tensor), *const dbias = data_or_null<Grad>(slots[1].tensor);
      launch(ctx, "layer_norm",
             [&] { kernels::layer_norm_backward_weight_cpu(dweight, slots[0].accumulate, dbias, slots[1].accumulate, dy.data<T>(), s.data<T>(), mean.data<float>(), rstd.data<float>(), size, scratch.data<float>()); },
             [&] { kernels::layer_norm_backward_weight_cuda(dweight, slots[0].accumulate, dbias, slots[1].accumulate, dy.data<T>(), s.data<T>(), mean.data<float>(), rstd.data<float>(), size, scratch.data<float>(), ctx.stream()); });
    });
  });
}

}  // namespace

NormResult rms_norm(ExecContext& ctx, const Tensor& x, const Tensor& branch, const ParameterSpan& weight, float eps) {
  NormResult out = prepare(ctx, "rms_norm", x, branch, weight);
  const Tensor rstd = ctx.empty({x.dim(0)}, DType::fp32), w = weight.value(ctx);
  const kernels::RmsNormSize size{.rows = x.dim(0), .hidden = x.dim(1)};
  with_float_type("rms_norm", x.dtype(), [&](auto t) {
    using T = decltype(t);
    T* const sum = branch.defined() ? out.residual.data<T>() : nullptr;
    launch(ctx, "rms_norm",
           [&] { kernels::rms_norm_forward_cpu(out.y.data<T>(), sum, rstd.data<float>(), x.data<T>(), data_or_null<T>(branch), w.data<T>(), size, eps); },
           [&] { kernels::rms_norm_forward_cuda(out.y.data<T>(), sum, rstd.data<float>(), x.data<T>(), data_or_null<T>(branch), w.data<T>(), size, eps, ctx.stream()); });
  });
  ctx.record({.op = "rms_norm", .inputs = inputs_of(x, branch), .params = {weight}, .saved = {out.residual, rstd}, .outputs = {out.y, out.residual},
              .grad_input = [weight, has_branch = branch.defined()](Backward& back) { return for_inputs(rms_norm_grad_input(back, weight), has_branch); },
              .grad_weight = [size](Backward& back, const std::vector<GradientSlot>& slots) {
                if (back.grad_output(0).defined()) rms_norm_grad_weight(back.ctx(), slots[0], back.grad_output(0), back.saved(0), back.saved(1), size);
              }});
  return out;
}

NormResult layer_norm(ExecContext& ctx, const Tensor& x, const Tensor& branch, const ParameterSpan& weight, const ParameterSpan& bias, float eps) {
  NormResult out = prepare(ctx, "layer_norm", x, branch, weight);
  const Tensor mean = ctx.empty({x.dim(0)}, DType::fp32), rstd = ctx.empty({x.dim(0)}, DType::fp32), w = weight.value(ctx), b = bias.value(ctx);
  const kernels::LayerNormSize size{.rows = x.dim(0), .hidden = x.dim(1)};
  with_float_type("layer_norm", x.dtype(), [&](auto t) {
    using T = decltype(t);
    T* const sum = branch.defined() ? out.residual.data<T>() : nullptr;
    launch(ctx, "layer_norm",
           [&] { kernels::layer_norm_forward_cpu(out.y.data<T>(), sum, mean.data<float>(), rstd.data<float>(), x.data<T>(), data_or_null<T>(branch), w.data<T>(), b.data<T>(), size, eps); },
           [&] { kernels::layer_norm_forward_cuda(out.y.data<T>(), sum, mean.data<float>(), rstd.data<float>(), x.data<T>(), data_or_null<T>(branch), w.data<T>(), b.data<T>(), size, eps, ctx.stream()); });
  });
  ctx.record({.op = "layer_norm", .inputs = inputs_of(x, branch), .params = {weight, bias}, .saved = {out.residual, mean, rstd}, .outputs = {out.y, out.residual},
              .grad_input = [weight, has_branch = branch.defined()](Backward& back) { return for_inputs(layer_norm_grad_input(back, weight), has_branch); },
              .grad_weight = layer_norm_grad_weight});
  return out;
}

Tensor head_rms_norm(ExecContext& ctx, const Tensor& x, const ParameterSpan& weight, float eps) {
  if (x.rank() != 3 || weight.rows() != x.dim(2))
    throw ShapeError{"head_rms_norm", weight.members().front()->name, "is " + to_string(weight.shape()) + " and x is " + to_string(x.shape())};
  const int64_t tokens = x.dim(0), heads = x.dim(1);
  const Tensor y = ctx.empty(x.shape(), x.dtype()), rstd = ctx.empty({tokens * heads}, DType::fp32), w = weight.value(ctx);
  const kernels::RmsNormSize size{.rows = tokens * heads, .hidden = x.dim(2), .heads = heads, .x_stride = x.stride(0)};
  with_float_type("head_rms_norm", x.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(ctx, "head_rms_norm",
           [&] { kernels::rms_norm_forward_cpu<T>(y.data<T>(), nullptr, rstd.data<float>(), x.data<T>(), nullptr, w.data<T>(), size, eps); },
           [&] { kernels::rms_norm_forward_cuda<T>(y.data<T>(), nullptr, rstd.data<float>(), x.data<T>(), nullptr, w.data<T>(), size, eps, ctx.stream()); });
  });
  ctx.record({.op = "head_rms_norm", .inputs = {x}, .params = {weight}, .saved = {x, rstd}, .outputs = {y},
              .grad_input = [weight, size](Backward& back) -> std::vector<Tensor> {
                // In place where possible: dy is a slice of the packed q, k, v gradient that attention wrote, and stays one.
                ExecContext& ctx = back.ctx();
                const Tensor dy = back.grad_output(0), x = back.saved(0), rstd = back.saved(1), w = weight.value(ctx);
                const Tensor dx = back.weight_gradient_follows() ? ctx.empty(dy.shape(), dy.dtype()) : dy.with_id(ctx.next_id());
                kernels::RmsNormSize back_size = size;
                back_size.dy_stride = dy.stride(0);
                back_size.dx_stride = dx.stride(0);
                with_float_type("head_rms_norm", dy.dtype(), [&](auto t) {
                  using T = decltype(t);
                  launch(ctx, "head_rms_norm",
                         [&] { kernels::rms_norm_backward_input_cpu<T>(dx.data<T>(), dy.data<T>(), nullptr, x.data<T>(), rstd.data<float>(), w.data<T>(), back_size); },
                         [&] { kernels::rms_norm_backward_input_cuda<T>(dx.data<T>(), dy.data<T>(), nullptr, x.data<T>(), rstd.data<float>(), w.data<T>(), back_size, ctx.stream()); });
                });
                return {dx};
              },
              .grad_weight = [size](Backward& back, const std::vector<GradientSlot>& slots) {
                kernels::RmsNormSize back_size = size;
                back_size.dy_stride = back.grad_output(0).stride(0);
                rms_norm_grad_weight(back.ctx(), slots[0], back.grad_output(0), back.saved(0), back.saved(1), back_size);
              }});
  return y;
}

}  // namespace nemo
