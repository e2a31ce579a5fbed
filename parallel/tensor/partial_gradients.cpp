#include "parallel/tensor/partial_gradients.h"

#include "core/ops/copy.h"
#include "core/ops/elementwise.h"
#include "core/sharding/flat_ranges.h"

namespace nemo {
namespace {

// Few ranks share a head, and they are a part of the group: all summands are gathered and the sharers' added, in rank
// order.
void sum_over_neighbours(ExecContext& ctx, const Tensor& own, int64_t copies, const ProcessGroup& tensor) {
  const Tensor all = ctx.empty({tensor.size(), own.numel()}, own.dtype(), MemoryTag::workspace);
  tensor.all_gather(ctx, all, own, "gradients of shared heads").wait(ctx);
  const int64_t first = tensor.rank() / copies * copies;
  Tensor sum = all.segment(first * own.numel(), own.shape());
  for (int64_t i = 1; i < copies; ++i)
    sum = add_gradients(ctx, sum, all.segment((first + i) * own.numel(), own.shape()));
  copy(ctx, own, sum);
}

}  // namespace

void sum_partial_gradients(ExecContext& ctx, const FlatBuffer& flat, const ProcessGroup& tensor) {
  if (tensor.size() == 1 || !flat.gradients.defined()) return;
  for (const FlatRange& range : partial_ranges(flat)) {
    const Tensor own = flat.gradients.segment(range.begin, {range.end - range.begin});
    if (range.copies == tensor.size()) {
      tensor.all_reduce(ctx, own, Reduction::sum, "partial gradients").wait(ctx);
    } else {
      sum_over_neighbours(ctx, own, range.copies, tensor);
    }
  }
}

}  // namespace nemo
