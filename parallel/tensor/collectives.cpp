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

PendingTensor pending(Work work, const Tensor& result) {
  return [work, result](ExecContext& ctx) mutable {
    work.wait(ctx);
    return result;
  };
}

}  // namespace

PendingTensor start_gathering_rows(ExecContext& ctx, const Tensor& x, const ProcessGroup& group,
                                   std::string_view label) {
  const Tensor all = ctx.empty({x.dim(0) * group.size(), x.dim(1)}, x.dtype());
  return pending(group.all_gather(ctx, all, contiguous(ctx, x), label), all);
}

PendingTensor start_summing_rows(ExecContext& ctx, const Tensor& x, const ProcessGroup& group, std::string_view label) {
  if (x.dim(0) % group.size() != 0)
    throw ShapeError{std::string(label), std::to_string(x.dim(0)) + " rows",
                     "do not divide over " + std::to_string(group.size()) + " ranks"};
  const Tensor own = ctx.empty({x.dim(0) / group.size(), x.dim(1)}, x.dtype());
  return pending(group.reduce_scatter(ctx, own, contiguous(ctx, x), Reduction::sum, label), own);
}

PendingTensor start_summing(ExecContext& ctx, const Tensor& x, const ProcessGroup& group, std::string_view label) {
  return pending(group.all_reduce(ctx, x, Reduction::sum, label), x);
}

Tensor sum_over_ranks(ExecContext& ctx, const Tensor& x, const ProcessGroup& group, std::string_view label) {
  const Tensor y = start_summing(ctx, x, group, label)(ctx).with_id(ctx.next_id());
  ctx.record(
      {.op = "sum_over_ranks", .inputs = {x}, .outputs = {y}, .grad_input = [](Backward& back) -> std::vector<Tensor> {
         return {back.take_grad_output(0)};
       }});
  return y;
}

Tensor sum_and_scatter_rows(ExecContext& ctx, const Tensor& x, const ProcessGroup& group, std::string_view label) {
  const Tensor y = summed_rows(ctx, x, group, label);
  ctx.record({.op = "sum_and_scatter_rows",
              .inputs = {x},
              .outputs = {y},
              .grad_input = [group, label = std::string(label)](Backward& back) -> std::vector<Tensor> {
                return {gathered_rows(back.ctx(), back.grad_output(0), group, label + " gradient")};
              }});
  return y;
}

}  // namespace nemo
