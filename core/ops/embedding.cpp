#include "core/ops/embedding.h"

#include "core/autograd/tape.h"
#include "core/ops/launch.h"
#include "kernels/embedding/embedding.h"

namespace nemo {
namespace {

kernels::EmbeddingShape shape_of(const Tensor& ids, const Shape& table, int64_t first_row) {
  return {.tokens = ids.dim(0), .rows = table[0], .hidden = table[1], .first_row = first_row};
}

// Where the rows of a table's slice start in the whole table.
int64_t first_row(const ParameterSpan& table) { return table.members().front()->slice_offset[0]; }

void look_up(ExecContext& ctx, const Tensor& y, bool accumulate, const Tensor& ids, const Tensor& table, int64_t first_row = 0) {
  const kernels::EmbeddingShape shape = shape_of(ids, table.shape(), first_row);
  with_float_type("embedding", y.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(ctx, "embedding", [&] { kernels::embedding_forward_cpu(y.data<T>(), accumulate, ids.data<int32_t>(), table.data<T>(), shape); },
           [&] { kernels::embedding_forward_cuda(y.data<T>(), accumulate, ids.data<int32_t>(), table.data<T>(), shape, ctx.stream()); });
  });
}

// Bytes of the sort's scratch, bounded without asking the library, so that meta counts the same: keys and values, twice,
// and the radix sort's own 4 MiB.
int64_t scratch_bytes(int64_t tokens) { return 32 * tokens + (int64_t{4} << 20); }

void scatter(ExecContext& ctx, const GradientSlot& slot, const Tensor& dy, const Tensor& ids, int64_t first_row = 0) {
  const kernels::EmbeddingShape shape = shape_of(ids, slot.tensor.shape(), first_row);
  Tensor scratch;
  if (ctx.device().plans_for() == DeviceType::cuda) scratch = ctx.empty({scratch_bytes(shape.tokens)}, DType::uint8, MemoryTag::workspace);
  with_float_type("embedding", dy.dtype(), [&](auto t) {
    using T = decltype(t);
    with_float_type("embedding", slot.tensor.dtype(), [&](auto g) {
      using Grad = decltype(g);
      launch(ctx, "embedding", [&] { kernels::embedding_backward_cpu(slot.tensor.data<Grad>(), slot.accumulate, dy.data<T>(), ids.data<int32_t>(), shape); },
             [&] {
               if (kernels::embedding_scratch_bytes_cuda(shape) > scratch.bytes())
                 throw DeviceError{to_string(ctx.device()), "embedding", "the sort asks for " + std::to_string(kernels::embedding_scratch_bytes_cuda(shape)) + " bytes of scratch, " + std::to_string(scratch.bytes()) + " are planned"};
               kernels::embedding_backward_cuda(slot.tensor.data<Grad>(), slot.accumulate, dy.data<T>(), ids.data<int32_t>(), shape, scratch.raw(), ctx.stream());
             });
    });
  });
}

}  // namespace

Tensor embedding(ExecContext& ctx, const Tensor& ids, const ParameterSpan& table) {
  const Tensor values = table.value(ctx), y = ctx.empty({ids.dim(0), table.columns()}, values.dtype());
  look_up(ctx, y, false, ids, values, first_row(table));
  ctx.record({.op = "embedding", .params = {table}, .saved = {ids}, .outputs = {y},
              .grad_weight = [row = first_row(table)](Backward& back, const std::vector<GradientSlot>& slots) { scatter(back.ctx(), slots[0], back.grad_output(0), back.saved(0), row); }});
  return y;
}

Tensor add_embedding(ExecContext& ctx, const Tensor& x, const Tensor& ids, const ParameterSpan& table) {
  expect_shape("add_embedding", "x", x, {ids.dim(0), table.columns()});
  look_up(ctx, x, true, ids, table.value(ctx));
  const Tensor y = x.with_id(ctx.next_id());
  ctx.record({.op = "add_embedding", .inputs = {x}, .params = {table}, .saved = {ids}, .outputs = {y},
              .grad_input = [](Backward& back) -> std::vector<Tensor> { return {back.take_grad_output(0)}; },
              .grad_weight = [](Backward& back, const std::vector<GradientSlot>& slots) { scatter(back.ctx(), slots[0], back.grad_output(0), back.saved(0)); }});
  return y;
}

Tensor gather_rows(ExecContext& ctx, const Tensor& x, const Tensor& rows) {
  if (x.rank() != 2 || !x.is_contiguous()) throw ShapeError{"gather_rows", "x", "is " + to_string(x.shape()) + ", expected a contiguous matrix"};
  expect_dtype("gather_rows", "rows", rows, DType::int32);
  const Tensor y = ctx.empty({rows.dim(0), x.dim(1)}, x.dtype());
  look_up(ctx, y, false, rows, x);
  ctx.record({.op = "gather_rows", .inputs = {x}, .saved = {rows}, .outputs = {y},
              .grad_input = [shape = x.shape()](Backward& back) -> std::vector<Tensor> {
                const Tensor dx = back.ctx().empty(shape, back.grad_output(0).dtype());
                scatter(back.ctx(), {.tensor = dx, .accumulate = false}, back.grad_output(0), back.saved(0));
                return {dx};
              }});
  return y;
}

}  // namespace nemo
