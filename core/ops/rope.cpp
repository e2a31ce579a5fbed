#include "core/ops/rope.h"

#include "core/autograd/tape.h"
#include "core/ops/launch.h"
#include "kernels/rope/rope.h"

namespace nemo {
namespace {

RotatedHeads rotate(ExecContext& ctx, const Tensor& q, const Tensor& k, const Tensor& positions, const Tensor& cos, const Tensor& sin, bool inverse) {
  const kernels::RopeShape shape{.tokens = q.dim(0), .q_heads = q.dim(1), .k_heads = k.dim(1), .head_size = q.dim(2), .rotary_size = 2 * cos.dim(1),
                                 .q_stride = q.stride(0), .k_stride = k.stride(0), .inverse = inverse};
  with_float_type("rope", q.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(ctx, "rope", [&] { kernels::rope_cpu(q.data<T>(), k.data<T>(), positions.data<int32_t>(), cos.data<float>(), sin.data<float>(), shape); },
           [&] { kernels::rope_cuda(q.data<T>(), k.data<T>(), positions.data<int32_t>(), cos.data<float>(), sin.data<float>(), shape, ctx.stream()); });
  });
  return {q.with_id(ctx.next_id()), k.with_id(ctx.next_id())};
}

}  // namespace

RotatedHeads rope(ExecContext& ctx, const Tensor& q, const Tensor& k, const Tensor& positions, const RopeTable& table) {
  for (const Tensor* x : {&q, &k})
    if (x->rank() != 3) throw ShapeError{"rope", x == &q ? "q" : "k", "is " + to_string(x->shape()) + ", expected [tokens, heads, head_size]"};
  expect_shape("rope", "k", k, {q.dim(0), k.dim(1), q.dim(2)});
  expect_shape("rope", "positions", positions, {q.dim(0)});
  const RotatedHeads turned = rotate(ctx, q, k, positions, table.cos, table.sin, false);
  ctx.record({.op = "rope", .inputs = {q, k}, .saved = {positions, table.cos, table.sin}, .outputs = {turned.q, turned.k},
              .grad_input = [](Backward& back) -> std::vector<Tensor> {
                const RotatedHeads gradients = rotate(back.ctx(), back.grad_output(0), back.grad_output(1), back.saved(0), back.saved(1), back.saved(2), true);
                return {gradients.q, gradients.k};
              }});
  return turned;
}

}  // namespace nemo
