#include "parallel/tensor/vocabulary_cut.h"

#include "core/ops/copy.h"
#include "core/ops/launch.h"
#include "kernels/cross_entropy/vocabulary_cut.h"
#include "parallel/tensor/collectives.h"

namespace nemo {

Tensor RankedVocabularyCut::enter(ExecContext& ctx, const Tensor& x) const {
  return ranks_.stream_is_cut ? gathered_rows(ctx, x, ranks_.group, "head input") : x;
}

Tensor RankedVocabularyCut::leave_gradient(ExecContext& ctx, const Tensor& dx) const {
  if (ranks_.stream_is_cut) return summed_rows(ctx, dx, ranks_.group, "head input gradient");
  ranks_.group.all_reduce(ctx, dx, Reduction::sum, "head input gradient").wait(ctx);
  return dx;
}

void RankedVocabularyCut::merge(ExecContext& ctx, const Tensor& log_prob, const Tensor& lse, const Tensor& labels,
                                int64_t classes_per_rank, int64_t num_classes) const {
  const int64_t rows = log_prob.dim(0), ranks = ranks_.group.size();
  const Tensor parts = ctx.empty({ranks, 2, rows}, DType::fp32, MemoryTag::workspace);
  const Tensor own = parts.slice(0, ranks_.group.rank(), 1);
  copy(ctx, own.segment(0, {rows}), log_prob);
  copy(ctx, own.segment(rows, {rows}), lse);
  ranks_.group.all_gather(ctx, parts, own, "loss statistics").wait(ctx);
  const kernels::VocabularyCutShape shape{
      .ranks = ranks, .rows = rows, .classes_per_rank = classes_per_rank, .num_classes = num_classes};
  launch(
      ctx, "merge_cross_entropy",
      [&] {
        kernels::merge_cross_entropy_cpu(log_prob.data<float>(), lse.data<float>(), parts.data<float>(),
                                         labels.data<int32_t>(), shape);
      },
      [&] {
        kernels::merge_cross_entropy_cuda(log_prob.data<float>(), lse.data<float>(), parts.data<float>(),
                                          labels.data<int32_t>(), shape, ctx.stream());
      });
}

Tensor RankedVocabularyCut::gather_logits(ExecContext& ctx, const Tensor& logits) const {
  const int64_t ranks = ranks_.group.size(), rows = logits.dim(0), columns = logits.dim(1);
  const Tensor by_rank = gathered_rows(ctx, logits, ranks_.group, "logits"),
               all = ctx.empty({rows, ranks * columns}, logits.dtype(), MemoryTag::logits);
  for (int64_t rank = 0; rank < ranks; ++rank)
    copy_rows(ctx, all.slice(1, rank * columns, columns), by_rank.slice(0, rank * rows, rows));
  return all;
}

}  // namespace nemo
