#include "core/ops/rope.h"

#include "core/autograd/tape.h"
#include "core/ops/launch.h"
#include "kernels/rope/rope.h"

namespace nemo {
namespace {

Tensor rotate(ExecContext& ctx, const Tensor& x, const Tensor& positions, const Tensor& cos, const Tensor& sin, bool inverse) {
  const kernels::RopeShape shape{.tokens = x.dim(0), .heads = x.dim(1), .head_size = x.dim(2), .rotary_size = 2 * cos.dim(1),
                                 .token_stride = x.stride(0), .inverse = inverse};
  with_float_type("rope", x.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(ctx, "rope", [&] { kernels::rope_cpu(x.data<T>(), positions.data<int32_t>(), cos.data<float>(), sin.data<float>(), shape); },
           [&] { kernels::rope_cuda(x.data<T>(), positions.data<int32_t>(), cos.data<float>(), sin.data<float>(), shape, ctx.stream()); });
  });
  return x.with_id(ctx.next_id());
}

}  // namespace

Tensor rope(ExecContext& ctx, const Tensor& x, const Tensor& positions, const RopeTable& table) {
  if (x.rank() != 3) throw ShapeError{"rope", "x", "is " + to_string(x.shape()) + ", expected [tokens, heads, head_size]"};
  expect_shape("rope", "positions", positions, {x.dim(0)});
  const Tensor y = rotate(ctx, x, positions, table.cos, table.sin, false);
  ctx.record({.op = "rope", .inputs = {x}, .saved = {positions, table.cos, table.sin}, .outputs = {y},
              .grad_input = [](Backward& back) -> std::vector<Tensor> {
                return {rotate(back.ctx(), back.grad_output(0), back.saved(0), back.saved(1), back.saved(2), true)};
              }});
  return y;
}

}  // namespace nemo
