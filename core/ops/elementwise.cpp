#include "core/ops/elementwise.h"

#include "core/autograd/tape.h"
#include "core/ops/copy.h"
#include "core/ops/launch.h"
#include "kernels/elementwise/elementwise.h"

namespace nemo {
namespace {

void add_into(ExecContext& ctx, const Tensor& y, const Tensor& a, const Tensor& b) {
  with_float_type("add", y.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(ctx, "add", [&] { kernels::add_cpu(y.data<T>(), a.data<T>(), b.data<T>(), y.numel()); },
           [&] { kernels::add_cuda(y.data<T>(), a.data<T>(), b.data<T>(), y.numel(), ctx.stream()); });
  });
}

Tensor contiguous(ExecContext& ctx, const Tensor& x) {
  if (x.is_contiguous()) return x;
  const Tensor rows = x.view({x.dim(0), -1}), result = ctx.empty(rows.shape(), x.dtype());
  copy_rows(ctx, result, rows);
  return result;
}

Tensor dropped(ExecContext& ctx, const Tensor& x, float rate, uint64_t site, const Tensor& token_ids) {
  const Tensor y = ctx.empty(x.shape(), x.dtype());
  const kernels::DropoutShape shape{.rows = x.dim(0), .columns = x.dim(1), .rate = rate};
  const kernels::RandomKey key = ctx.random_key(site);
  with_float_type("dropout", x.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(ctx, "dropout", [&] { kernels::dropout_cpu(y.data<T>(), x.data<T>(), token_ids.data<int64_t>(), key, ctx.step_state(), shape); },
           [&] { kernels::dropout_cuda(y.data<T>(), x.data<T>(), token_ids.data<int64_t>(), key, ctx.step_state(), shape, ctx.stream()); });
  });
  return y;
}

}  // namespace

Tensor add(ExecContext& ctx, const Tensor& a, const Tensor& b) {
  expect_shape("add", "b", b, a.shape());
  const Tensor sum = ctx.empty(a.shape(), a.dtype());
  add_into(ctx, sum, a, b);
  ctx.record({.op = "add", .inputs = {a, b}, .outputs = {sum},
              .grad_input = [](Backward& back) -> std::vector<Tensor> { return {back.grad_output(0), back.grad_output(0)}; }});
  return sum;
}

void add_to(ExecContext& ctx, const Tensor& sum, const Tensor& addend) { add_into(ctx, sum, sum, addend); }

Tensor add_gradients(ExecContext& ctx, Tensor a, Tensor b) {
  const Shape shape = a.shape();
  a = contiguous(ctx, a);
  b = contiguous(ctx, b);
  const Tensor sum = a.sole_owner() ? a : b.sole_owner() ? b : ctx.empty(shape, a.dtype());
  add_into(ctx, sum, a, b);
  return sum.with_id(sum.id()).view(shape);  // without the magnitudes of a or b
}

std::vector<Tensor> split_columns(ExecContext& ctx, const Tensor& x, std::span<const int64_t> columns) {
  std::vector<Tensor> slices;
  int64_t first = 0;
  for (const int64_t count : columns) {
    slices.push_back(x.slice(1, first, count).with_id(ctx.next_id()));
    first += count;
  }
  ctx.record({.op = "split_columns", .inputs = {x}, .outputs = slices,
              .grad_input = [shape = x.shape(), dtype = x.dtype(), columns = std::vector<int64_t>(columns.begin(), columns.end())](Backward& back) -> std::vector<Tensor> {
                std::vector<Tensor> gradients;
                for (size_t i = 0; i < columns.size(); ++i)
                  gradients.push_back(back.grad_output(i).defined() ? back.grad_output(i).view({shape[0], columns[i]}) : Tensor());
                if (std::optional<Tensor> joined = Tensor::join_columns(gradients); joined && joined->dim(1) == shape[1]) return {*joined};
                const Tensor packed = back.ctx().empty(shape, dtype);
                int64_t first = 0;
                for (size_t i = 0; i < columns.size(); ++i) {
                  const Tensor part = packed.slice(1, first, columns[i]);
                  if (!gradients[i].defined()) throw ShapeError{"split_columns", "slice " + std::to_string(i), "received no gradient"};
                  copy_rows(back.ctx(), part, gradients[i]);
                  first += columns[i];
                }
                return {packed};
              }});
  return slices;
}

Tensor dropout(ExecContext& ctx, const Tensor& x, float rate, uint64_t site, const Tensor& token_ids) {
  if (!ctx.training() || rate == 0) return x;
  const Tensor y = dropped(ctx, x, rate, site, token_ids);
  ctx.record({.op = "dropout", .inputs = {x}, .saved = {token_ids}, .outputs = {y},
              .grad_input = [rate, site](Backward& back) -> std::vector<Tensor> {
                return {dropped(back.ctx(), back.grad_output(0), rate, site, back.saved(0))};
              }});
  return y;
}

}  // namespace nemo
