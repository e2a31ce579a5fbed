#include "core/autograd/tape.h"
#include "core/error.h"
#include "core/ops/copy.h"
#include "core/ops/elementwise.h"
#include "parallel/context/context_attention.h"
#include "parallel/context/row_order.h"

namespace nemo {
namespace {

// The same columns of each of several matrices: those of one rank's heads.
struct HeadColumns {
  std::vector<int64_t> widths;  // of each matrix, all heads
  int64_t ranks;

  int64_t width() const {  // of one rank's share of all of them
    int64_t sum = 0;
    for (const int64_t each : widths) sum += each / ranks;
    return sum;
  }
};

Tensor all_to_all(ExecContext& ctx, const Tensor& x, const ProcessGroup& context, std::string_view label) {
  const Tensor y = ctx.empty(x.shape(), x.dtype());
  const std::vector<int64_t> rows(static_cast<size_t>(context.size()), x.dim(0) / context.size());
  context.all_to_all(ctx, y, rows, x, rows, label).wait(ctx);
  return y;
}

// Matrices [T, widths[i]] of this rank's tokens -> [all tokens, width] of this rank's heads, in the order of the
// sequences.
Tensor to_heads(ExecContext& ctx, const std::vector<Tensor>& matrices, const HeadColumns& columns,
                const SequenceCut& cut, const ProcessGroup& context, std::string_view label) {
  const int64_t rows = matrices.front().dim(0);
  const Tensor packed = ctx.empty({columns.ranks * rows, columns.width()}, matrices.front().dtype());
  for (int64_t rank = 0; rank < columns.ranks; ++rank) {
    int64_t at = 0;
    for (size_t i = 0; i < matrices.size(); ++i) {
      const int64_t width = columns.widths[i] / columns.ranks;
      copy_rows(ctx, packed.slice(0, rank * rows, rows).slice(1, at, width), matrices[i].slice(1, rank * width, width));
      at += width;
    }
  }
  return reordered_rows(ctx, all_to_all(ctx, packed, context, label), cut.rank_order);
}

// The inverse.
std::vector<Tensor> to_tokens(ExecContext& ctx, const Tensor& x, const HeadColumns& columns, const SequenceCut& cut,
                              const ProcessGroup& context, std::string_view label) {
  const Tensor packed = all_to_all(ctx, reordered_rows(ctx, x, cut.sequence_order), context, label);
  const int64_t rows = packed.dim(0) / columns.ranks;
  std::vector<Tensor> matrices;
  for (const int64_t width : columns.widths) matrices.push_back(ctx.empty({rows, width}, x.dtype()));
  for (int64_t rank = 0; rank < columns.ranks; ++rank) {
    int64_t at = 0;
    for (size_t i = 0; i < matrices.size(); ++i) {
      const int64_t width = columns.widths[i] / columns.ranks;
      copy_rows(ctx, matrices[i].slice(1, rank * width, width), packed.slice(0, rank * rows, rows).slice(1, at, width));
      at += width;
    }
  }
  return matrices;
}

Tensor contiguous(ExecContext& ctx, const Tensor& x) {
  if (x.is_contiguous()) return x;
  const Tensor packed = ctx.empty(x.shape(), x.dtype());
  copy_rows(ctx, packed, x);
  return packed;
}

Tensor as_matrix(const Tensor& x) {
  return x.view({x.dim(0), -1});
}

// The two exchanges as recorded ops; x: [T, heads, H] each. The layout is held, not saved: it is the batch's, and all
// layers share it.
Tensor tokens_to_heads(ExecContext& ctx, const std::vector<Tensor>& x, const HeadColumns& columns,
                       const std::shared_ptr<const SequenceCut>& cut, const ProcessGroup& context) {
  std::vector<Tensor> matrices;
  std::vector<Shape> shapes;
  for (const Tensor& each : x) {
    matrices.push_back(as_matrix(each));
    shapes.push_back(each.shape());
  }
  const Tensor y = to_heads(ctx, matrices, columns, *cut, context, "queries, keys and values");
  ctx.record({.op = "tokens_to_heads",
              .inputs = x,
              .outputs = {y},
              .grad_input = [shapes, columns, cut, context](Backward& back) {
                std::vector<Tensor> gradients =
                    to_tokens(back.ctx(), contiguous(back.ctx(), back.grad_output(0)), columns, *cut, context,
                              "gradients of queries, keys and values");
                for (size_t i = 0; i < shapes.size(); ++i) gradients[i] = gradients[i].view(shapes[i]);
                return gradients;
              }});
  return y;
}

Tensor heads_to_tokens(ExecContext& ctx, const Tensor& x, const HeadColumns& columns,
                       const std::shared_ptr<const SequenceCut>& cut, const ProcessGroup& context) {
  const Tensor y = to_tokens(ctx, x, columns, *cut, context, "attention output").front();
  ctx.record({.op = "heads_to_tokens",
              .inputs = {x},
              .outputs = {y},
              .grad_input = [columns, cut, context](Backward& back) -> std::vector<Tensor> {
                return {to_heads(back.ctx(), {as_matrix(back.grad_output(0))}, columns, *cut, context,
                                 "gradient of attention output")};
              }});
  return y;
}

}  // namespace

Tensor ExchangedAttention::forward(ExecContext& ctx, const Tensor& q, const Tensor& k, const Tensor& v,
                                   const TokenLayout& tokens, int64_t) const {
  const int64_t ranks = context_.size(), head_size = q.dim(2), heads = q.dim(1) / ranks, groups = k.dim(1) / ranks;
  if (q.dim(1) % ranks != 0 || k.dim(1) % ranks != 0)
    throw PlanError{"a2a", std::to_string(q.dim(1)) + " heads in " + std::to_string(k.dim(1)) + " groups",
                    "do not divide over " + std::to_string(ranks) + " context ranks", "p2p or all_gather"};
  const HeadColumns qkv{{q.dim(1) * head_size, k.dim(1) * head_size, k.dim(1) * head_size}, ranks};
  const Tensor packed = tokens_to_heads(ctx, {q, k, v}, qkv, tokens.cut, context_);
  const int64_t columns[] = {heads * head_size, groups * head_size, groups * head_size};
  const std::vector<Tensor> own = split_columns(ctx, packed, columns);
  const auto with_heads = [&](const Tensor& x) { return x.view({x.dim(0), -1, head_size}); };
  AttentionOptions options = this->options();
  if (options.total_heads == 0) options.total_heads = q.dim(1);
  options.first_head += context_.rank() * heads;
  const Tensor out =
      attention(ctx, with_heads(own[0]), with_heads(own[1]), with_heads(own[2]), tokens.cut->calls.front(), options);
  return heads_to_tokens(ctx, as_matrix(out), {{q.dim(1) * head_size}, ranks}, tokens.cut, context_).view(q.shape());
}

}  // namespace nemo
