#include <limits>

#include "core/autograd/tape.h"
#include "core/ops/attention_pass.h"
#include "core/ops/elementwise.h"
#include "core/ops/fill.h"
#include "parallel/context/context_attention.h"
#include "parallel/context/key_value_pack.h"

namespace nemo {
namespace {

// Tensors of one shape that go from each rank to the next.
class Ring {
 public:
  explicit Ring(const ProcessGroup& group) : group_(group) {}
  int64_t size() const { return group_.size(); }

  // Starts to send `tensor` on and to receive the previous rank's; it may be read while it is on its way.
  void start(ExecContext& ctx, const Tensor& tensor, std::string_view label) {
    arriving_ = ctx.empty(tensor.shape(), tensor.dtype());
    const int size = group_.size(), rank = group_.rank();
    work_ = group_.exchange(ctx, {{(rank + 1) % size, tensor}}, {{(rank + size - 1) % size, arriving_}}, label);
  }
  Tensor finish(ExecContext& ctx) {
    work_.wait(ctx);
    return std::move(arriving_);
  }

 private:
  const ProcessGroup& group_;
  Tensor arriving_;
  Work work_;
};

// Only the rank's own keys lie between its queries; others' that a call meets are all before them.
AttentionOptions options_of_step(AttentionOptions options, size_t step) {
  options.causal = options.causal && step == 0;
  return options;
}

// out, lse
std::vector<Tensor> attend(ExecContext& ctx, const Tensor& q, const Tensor& k, const Tensor& v, const SequenceCut& cut,
                           const AttentionOptions& options, const ProcessGroup& context) {
  constexpr float kNothingSeen = -std::numeric_limits<float>::infinity();
  const Tensor sum = ctx.empty(q.shape(), DType::fp32), lse = ctx.empty({q.dim(1), q.dim(0)}, DType::fp32);
  fill(ctx, lse, kNothingSeen);
  Ring ring(context);
  Tensor current = pack_keys_values(ctx, k, v);
  for (size_t step = 0; step < cut.calls.size(); ++step) {
    const bool last = step + 1 == cut.calls.size();
    if (!last) ring.start(ctx, current, "keys and values");
    const auto [all_k, all_v] = keys_values(current, q.dim(2));
    const Tensor part = ctx.empty(q.shape(), q.dtype()), part_lse = ctx.empty(lse.shape(), DType::fp32);
    fill(ctx, part_lse, kNothingSeen);  // of the queries that this call has no keys for
    attention_forward_pass(ctx, {q, all_k, all_v, part, part_lse}, cut.calls[step], options_of_step(options, step));
    attention_merge_pass(ctx, sum, lse, part, part_lse);
    if (!last) current = ring.finish(ctx);
  }
  if (q.dtype() == DType::fp32) return {sum, lse};
  const Tensor out = ctx.empty(q.shape(), q.dtype());
  convert(ctx, out, sum);
  return {out, lse};
}

std::vector<Tensor> grad_input(Backward& back, const SequenceCut& cut, const AttentionOptions& options,
                               const ProcessGroup& context) {
  ExecContext& ctx = back.ctx();
  const Tensor q = back.saved(0), out = back.saved(3), lse = back.saved(4),
               dout = back.grad_output(0).view({out.dim(0), -1});
  Ring keys_ring(context), gradients_ring(context);
  Tensor current = pack_keys_values(ctx, back.saved(1), back.saved(2)), dq;
  for (size_t step = 0; step < cut.calls.size(); ++step) {
    const bool last = step + 1 == cut.calls.size();
    if (!last) keys_ring.start(ctx, current, "keys and values");
    const Tensor dq_part = ctx.empty(q.shape(), q.dtype()), dkv_part = ctx.empty(current.shape(), current.dtype());
    zero(ctx, dq_part);
    zero(ctx, dkv_part);
    const auto [k, v] = keys_values(current, q.dim(2));
    const auto [dk, dv] = keys_values(dkv_part, q.dim(2));
    attention_backward_pass(ctx, {dq_part, dk, dv}, dout, {q, k, v, out, lse}, cut.calls[step],
                            options_of_step(options, step));
    dq = dq.defined() ? add_gradients(ctx, std::move(dq), dq_part) : dq_part;
    // What the ranks before have added for these keys arrives, and goes on with this rank's part; after a round it is
    // home.
    Tensor dkv = dkv_part;
    if (step > 0) dkv = add_gradients(ctx, gradients_ring.finish(ctx), dkv_part);
    if (!last) current = keys_ring.finish(ctx);
    gradients_ring.start(ctx, dkv, "gradients of keys and values");
  }
  const auto [dk, dv] = keys_values(gradients_ring.finish(ctx), q.dim(2));
  return {dq, dk, dv};
}

}  // namespace

Tensor RingAttention::forward(ExecContext& ctx, const Tensor& q, const Tensor& k, const Tensor& v,
                              const TokenLayout& tokens, int64_t) const {
  // The layout is held, not saved: it is the batch's, and all layers share it.
  const auto again = [cut = tokens.cut, options = options(), context = context_](ExecContext& ctx,
                                                                                 const std::vector<Tensor>& from) {
    return attend(ctx, from[0], from[1], from[2], *cut, options, context);
  };
  const std::vector<Tensor> made = again(ctx, {q, k, v});
  if (options().make_again) make_again(ctx, made, {q, k, v}, again);
  ctx.record({.op = "ring_attention",
              .inputs = {q, k, v},
              .saved = {q, k, v, made[0], made[1]},
              .outputs = {made[0]},
              .grad_input = [cut = tokens.cut, options = options(), context = context_](Backward& back) {
                return grad_input(back, *cut, options, context);
              }});
  return made[0];
}

}  // namespace nemo
