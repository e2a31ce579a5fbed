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

// What a backward of a norm reads and writes. dx undefined: the weight's alone; slots not wanted: the input's alone.
struct NormGradients {
  Tensor dx = {}, dy = {}, dsum = {}, s = {}, mean = {}, rstd = {}, weight = {};
  GradientSlot dweight = {}, dbias = {};
};

DType gradient_dtype(const NormGradients& of) { return of.dweight.wanted() ? of.dweight.tensor.dtype() : of.dbias.wanted() ? of.dbias.tensor.dtype() : DType::fp32; }

Tensor weight_scratch(ExecContext& ctx, const NormGradients& of, int64_t hidden, int64_t outputs) {
  if (!of.dweight.wanted() && !of.dbias.wanted()) return {};
  return ctx.empty({kernels::norm_scratch_floats(hidden, outputs)}, DType::fp32, MemoryTag::workspace);
}

void rms_norm_backward(ExecContext& ctx, const NormGradients& of, const kernels::RmsNormSize& size) {
  const Tensor scratch = weight_scratch(ctx, of, size.hidden, 1);
  with_float_type("rms_norm", of.dy.dtype(), [&](auto t) {
    using T = decltype(t);
    with_float_type("rms_norm", gradient_dtype(of), [&](auto g) {
      using Grad = decltype(g);
      T* const dx = data_or_null<T>(of.dx);
      Grad* const dweight = data_or_null<Grad>(of.dweight.tensor);
      float* const sums = data_or_null<float>(scratch);
      launch(ctx, "rms_norm",
             [&] { kernels::rms_norm_backward_cpu(dx, dweight, of.dweight.accumulate, of.dy.data<T>(), data_or_null<T>(of.dsum), of.s.data<T>(), of.rstd.data<float>(), of.weight.data<T>(), size, sums); },
             [&] { kernels::rms_norm_backward_cuda(dx, dweight, of.dweight.accumulate, of.dy.data<T>(), data_or_null<T>(of.dsum), of.s.data<T>(), of.rstd.data<float>(), of.weight.data<T>(), size, sums, ctx.stream()); });
    });
  });
}

void layer_norm_backward(ExecContext& ctx, const NormGradients& of) {
  const kernels::LayerNormSize size{.rows = of.s.dim(0), .hidden = of.s.dim(1)};
  const Tensor scratch = weight_scratch(ctx, of, size.hidden, 2);
  with_float_type("layer_norm", of.dy.dtype(), [&](auto t) {
    using T = decltype(t);
    with_float_type("layer_norm", gradient_dtype(of), [&](auto g) {
      using Grad = decltype(g);
      T* const dx = data_or_null<T>(of.dx);
      Grad *const dweight = data_or_null<Grad>(of.dweight.tensor), *const dbias = data_or_null<Grad>(of.dbias.tensor);
      float* const sums = data_or_null<float>(scratch);
      launch(ctx, "layer_norm",
             [&] { kernels::layer_norm_backward_cpu(dx, dweight, of.dweight.accumulate, dbias, of.dbias.accumulate, of.dy.data<T>(), data_or_null<T>(of.dsum), of.s.data<T>(), of.mean.data<float>(), of.rstd.data<float>(), of.weight.data<T>(), size, sums); },
             [&] { kernels::layer_norm_backward_cuda(dx, dweight, of.dweight.accumulate, dbias, of.dbias.accumulate, of.dy.data<T>(), data_or_null<T>(of.dsum), of.s.data<T>(), of.mean.data<float>(), of.rstd.data<float>(), of.weight.data<T>(), size, sums, ctx.stream()); });
    });
  });
}

// The same three derivatives for both norms: `backward` launches, `saved` fills s, mean, rstd and the weight.
template <class Saved, class Launch>
void record_norm(ExecContext& ctx, OpRecord record, bool has_branch, const Saved& saved, const Launch& backward) {
  const auto run = [saved, backward, has_branch](Backward& back, bool input, const std::vector<GradientSlot>& slots) -> std::vector<Tensor> {
    ExecContext& ctx = back.ctx();
    NormGradients of = saved(back);
    // Handles are taken where the input's gradient is formed: it may lie over what nobody else reads.
    of.dy = input ? back.take_grad_output(0) : back.grad_output(0);
    of.dsum = input ? back.take_grad_output(1) : Tensor();
    if (!of.dy.defined()) return for_inputs(of.dsum, has_branch);
    if (!slots.empty()) of.dweight = slots[0];
    if (slots.size() > 1) of.dbias = slots[1];
    if (input) of.dx = place_gradient(ctx, of.dy, of.dsum);
    backward(ctx, of);
    return for_inputs(of.dx, has_branch);
  };
  record.grad_input = [run](Backward& back) { return run(back, true, {}); };
  record.grad_weight = [run](Backward& back, const std::vector<GradientSlot>& slots) { run(back, false, slots); };
  record.grad_input_and_weight = [run](Backward& back, const std::vector<GradientSlot>& slots) { return run(back, true, slots); };
  ctx.record(std::move(record));
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
  record_norm(ctx, {.op = "rms_norm", .inputs = inputs_of(x, branch), .params = {weight}, .saved = {out.residual, rstd}, .outputs = {out.y, out.residual}}, branch.defined(),
              [weight](Backward& back) { return NormGradients{.s = back.saved(0), .rstd = back.saved(1), .weight = weight.value(back.ctx())}; },
              [size](ExecContext& ctx, const NormGradients& of) { rms_norm_backward(ctx, of, size); });
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
  record_norm(ctx, {.op = "layer_norm", .inputs = inputs_of(x, branch), .params = {weight, bias}, .saved = {out.residual, mean, rstd}, .outputs = {out.y, out.residual}}, branch.defined(),
              [weight](Backward& back) { return NormGradients{.s = back.saved(0), .mean = back.saved(1), .rstd = back.saved(2), .weight = weight.value(back.ctx())}; },
              layer_norm_backward);
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
  // In place where possible: dy is a slice of the packed q, k, v gradient that attention wrote, and stays one.
  const auto run = [weight, size](Backward& back, bool input, const std::vector<GradientSlot>& slots) -> std::vector<Tensor> {
    ExecContext& ctx = back.ctx();
    const Tensor dy = back.grad_output(0);
    NormGradients of{.dy = dy, .s = back.saved(0), .rstd = back.saved(1), .weight = weight.value(ctx)};
    if (!slots.empty()) of.dweight = slots[0];
    if (input) of.dx = back.weight_gradient_follows() ? ctx.empty(dy.shape(), dy.dtype()) : dy.with_id(ctx.next_id());
    kernels::RmsNormSize back_size = size;
    back_size.dy_stride = dy.stride(0);
    back_size.dx_stride = of.dx.defined() ? of.dx.stride(0) : 0;
    rms_norm_backward(ctx, of, back_size);
    return {of.dx};
  };
  ctx.record({.op = "head_rms_norm", .inputs = {x}, .params = {weight}, .saved = {x, rstd}, .outputs = {y},
              .grad_input = [run](Backward& back) { return run(back, true, {}); },
              .grad_weight = [run](Backward& back, const std::vector<GradientSlot>& slots) { run(back, false, slots); },
              .grad_input_and_weight = [run](Backward& back, const std::vector<GradientSlot>& slots) { return run(back, true, slots); }});
  return y;
}

}  // namespace nemo
