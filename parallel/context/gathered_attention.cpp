#include "core/autograd/tape.h"
#include "core/ops/attention_pass.h"
#include "core/ops/elementwise.h"
#include "parallel/context/context_attention.h"
#include "parallel/context/key_value_pack.h"
#include "parallel/context/row_order.h"
#include "parallel/tensor/collectives.h"

namespace nemo {
namespace {

// Keys and values of all ranks in the order of the sequences.
Tensor gather_keys_values(ExecContext& ctx, const Tensor& k, const Tensor& v, const SequenceCut& cut,
                          const ProcessGroup& context) {
  return reordered_rows(ctx, gathered_rows(ctx, pack_keys_values(ctx, k, v), context, "keys and values"),
                        cut.rank_order);
}

// out, lse
std::vector<Tensor> attend(ExecContext& ctx, const Tensor& q, const Tensor& k, const Tensor& v, const SequenceCut& cut,
                           const AttentionOptions& options, const ProcessGroup& context) {
  const Tensor all = gather_keys_values(ctx, k, v, cut, context);
  const auto [all_k, all_v] = keys_values(all, q.dim(2));
  const Tensor out = ctx.empty(q.shape(), q.dtype()), lse = ctx.empty({q.dim(1), q.dim(0)}, DType::fp32);
  for (const TokenLayout& call : cut.calls) attention_forward_pass(ctx, {q, all_k, all_v, out, lse}, call, options);
  return {out, lse};
}

std::vector<Tensor> grad_input(Backward& back, const SequenceCut& cut, const AttentionOptions& options,
                               const ProcessGroup& context) {
  ExecContext& ctx = back.ctx();
  const Tensor q = back.saved(0), out = back.saved(3), lse = back.saved(4),
               dout = back.grad_output(0).view({out.dim(0), -1});
  const Tensor all = gather_keys_values(ctx, back.saved(1), back.saved(2), cut, context);
  const auto [k, v] = keys_values(all, q.dim(2));
  const Tensor dq = ctx.empty(q.shape(), q.dtype());
  Tensor sum;
  for (const TokenLayout& call : cut.calls) {
    const Tensor part = ctx.empty(all.shape(), all.dtype());
    zero(ctx, part);
    const auto [dk, dv] = keys_values(part, q.dim(2));
    attention_backward_pass(ctx, {dq, dk, dv}, dout, {q, k, v, out, lse}, call, options);
    sum = sum.defined() ? add_gradients(ctx, std::move(sum), part) : part;
  }
  const Tensor own =
      summed_rows(ctx, reordered_rows(ctx, sum, cut.sequence_order), context, "gradients of keys and values");
  const auto [dk, dv] = keys_values(own, q.dim(2));
  return {dq, dk, dv};
}

}  // namespace

Tensor GatheredAttention::forward(ExecContext& ctx, const Tensor& q, const Tensor& k, const Tensor& v,
                                  const TokenLayout& tokens, int64_t) const {
  // The layout is held, not saved: it is the batch's, and all layers share it.
  const auto again = [cut = tokens.cut, options = options(), context = context_](ExecContext& ctx,
                                                                                 const std::vector<Tensor>& from) {
    return attend(ctx, from[0], from[1], from[2], *cut, options, context);
  };
  const std::vector<Tensor> made = again(ctx, {q, k, v});
  if (options().make_again) make_again(ctx, made, {q, k, v}, again);
  ctx.record({.op = "gathered_attention",
              .inputs = {q, k, v},
              .saved = {q, k, v, made[0], made[1]},
              .outputs = {made[0]},
              .grad_input = [cut = tokens.cut, options = options(), context = context_](Backward& back) {
                return grad_input(back, *cut, options, context);
              }});
  return made[0];
}

}  // namespace nemo
