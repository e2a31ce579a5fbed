#include "parallel/tensor/collectives.h"

#include <string>

#include "core/autograd/tape.h"
#include "core/error.h"
#include "core/ops/copy.h"

namespace nemo {
namespace {

// x as one run of memory, in place where it is one.
Tensor contiguous(ExecContext& ctx, const Tensor& x) {
  if (x.is_contiguous()) return x;
  const Tensor packed = ctx.empty(x.shape(), x.dtype());
  copy_rows(ctx, packed, x);
  return packed;
}

// The sum over ranks, written over x where nobody else reads it.
Tensor summed(ExecContext& ctx, Tensor x, const ProcessGroup& group, std::string_view label) {
  if (!x.is_contiguous() || !x.sole_owner()) {
    const Tensor own = ctx.empty(x.shape(), x.dtype());
    copy_rows(ctx, own, x);
    x = own;
  }
  group.all_reduce(ctx, x, Reduction::sum, label).wait(ctx);
  return x;
}

}  // namespace

Tensor gathered_rows(ExecContext& ctx, const Tensor& x, const ProcessGroup& group, std::string_view label) {
  const Tensor all = ctx.empty({x.dim(0) * group.size(), x.dim(1)}, x.dtype());
  group.all_gather(ctx, all, contiguous(ctx, x), label).wait(ctx);
  return all;
}

Tensor summed_rows(ExecContext& ctx, const Tensor& x, const ProcessGroup& group, std::string_view label) {
  if (x.dim(0) % group.size() != 0)
    throw ShapeError{std::string(label), std::to_string(x.dim(0)) + " rows", "do not divide over " + std::to_string(group.size()) + " ranks"};
  const Tensor own = ctx.empty({x.dim(0) / group.size(), x.dim(1)}, x.dtype());
  group.reduce_scatter(ctx, own, contiguous(ctx, x), Reduction::sum, label).wait(ctx);
  return own;
}

Tensor copy_to_ranks(ExecContext& ctx, const Tensor& x, const ProcessGroup& group, std::string_view label) {
  const Tensor y = x.with_id(ctx.next_id());
  ctx.record({.op = "copy_to_ranks", .inputs = {x}, .outputs = {y},
              .grad_input = [group, label = std::string(label)](Backward& back) -> std::vector<Tensor> {
                return {summed(back.ctx(), back.take_grad_output(0), group, label + " gradient")};
              }});
  return y;
}

Tensor sum_over_ranks(ExecContext& ctx, const Tensor& x, const ProcessGroup& group, std::string_view label) {
  group.all_reduce(ctx, x, Reduction::sum, label).wait(ctx);
  const Tensor y = x.with_id(ctx.next_id());
  ctx.record({.op = "sum_over_ranks", .inputs = {x}, .outputs = {y}, .grad_input = [](Backward& back) -> std::vector<Tensor> { return {back.take_grad_output(0)}; }});
  return y;
}

Tensor gather_rows_of_ranks(ExecContext& ctx, const Tensor& x, const ProcessGroup& group, std::string_view label) {
  const Tensor y = gathered_rows(ctx, x, group, label);
  // Who saves y keeps the own rows alone; the backward gathers them again.
  make_again(ctx, {y}, {x}, [group, label = std::string(label)](ExecContext& ctx, const std::vector<Tensor>& from) -> std::vector<Tensor> {
    return {gathered_rows(ctx, from[0], group, label + " again")};
  });
  ctx.record({.op = "gather_rows_of_ranks", .inputs = {x}, .outputs = {y},
              .grad_input = [group, label = std::string(label)](Backward& back) -> std::vector<Tensor> {
                return {summed_rows(back.ctx(), back.grad_output(0), group, label + " gradient")};
              }});
  return y;
}

Tensor sum_and_scatter_rows(ExecContext& ctx, const Tensor& x, const ProcessGroup& group, std::string_view label) {
  const Tensor y = summed_rows(ctx, x, group, label);
  ctx.record({.op = "sum_and_scatter_rows", .inputs = {x}, .outputs = {y},
              .grad_input = [group, label = std::string(label)](Backward& back) -> std::vector<Tensor> {
                return {gathered_rows(back.ctx(), back.grad_output(0), group, label + " gradient")};
              }});
  return y;
}

}  // namespace nemo
