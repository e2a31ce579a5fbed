#include "core/ops/attention_pass.h"

#include "core/ops/launch.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/attention_merge.h"

namespace nemo {
namespace {

using kernels::AttentionShape;

AttentionShape shape_of(ExecContext& ctx, const AttentionTensors& t, const TokenLayout& tokens,
                        const AttentionOptions& options) {
  return {.num_segments = tokens.num_segments,
          .query_tokens = t.q.dim(0),
          .key_tokens = t.k.dim(0),
          .max_query_length = tokens.max_query_length,
          .max_key_length = tokens.max_key_length,
          .num_heads = t.q.dim(1),
          .num_groups = t.k.dim(1),
          .head_size = t.q.dim(2),
          .q_stride = t.q.stride(0),
          .k_stride = t.k.stride(0),
          .v_stride = t.v.stride(0),
          .out_stride = t.out.stride(0),
          .scale = options.scale,
          .causal = options.causal,
          .window = options.window,
          .softcap = options.softcap,
          .dropout = ctx.training() ? options.dropout : 0,
          .first_head = options.first_head,
          .total_heads = options.total_heads};
}

kernels::AttentionSegments segments_of(const TokenLayout& tokens) {
  return {tokens.query_begin.data<int32_t>(), tokens.query_end.data<int32_t>(), tokens.key_begin.data<int32_t>(),
          tokens.key_end.data<int32_t>()};
}

kernels::AttentionDropout dropout_of(ExecContext& ctx, const TokenLayout& tokens, const AttentionOptions& options) {
  return {ctx.random_key(options.dropout_site), tokens.token_ids.defined() ? tokens.token_ids.data<int64_t>() : nullptr,
          ctx.step_state(), tokens.key_positions.defined() ? tokens.key_positions.data<int32_t>() : nullptr};
}

}  // namespace

void attention_forward_pass(ExecContext& ctx, const AttentionTensors& t, const TokenLayout& tokens,
                            const AttentionOptions& options) {
  if (tokens.num_segments == 0) return;
  const AttentionShape shape = shape_of(ctx, t, tokens, options);
  const kernels::AttentionSegments segments = segments_of(tokens);
  const kernels::AttentionDropout dropout = dropout_of(ctx, tokens, options);
  with_float_type("attention", t.q.dtype(), [&](auto type) {
    using T = decltype(type);
    launch(
        ctx, "attention",
        [&] {
          kernels::attention_forward_cpu(t.out.data<T>(), t.lse.data<float>(), t.q.data<T>(), t.k.data<T>(),
                                         t.v.data<T>(), segments, shape, dropout);
        },
        [&] {
          kernels::attention_forward_cuda(t.out.data<T>(), t.lse.data<float>(), t.q.data<T>(), t.k.data<T>(),
                                          t.v.data<T>(), segments, shape, dropout, ctx.stream());
        });
  });
}

void attention_backward_pass(ExecContext& ctx, const AttentionGradients& gradients, const Tensor& dout,
                             const AttentionTensors& t, const TokenLayout& tokens, const AttentionOptions& options) {
  if (tokens.num_segments == 0) return;
  const AttentionShape shape = shape_of(ctx, t, tokens, options);
  const kernels::AttentionGradStrides strides{.dout_stride = dout.stride(0),
                                              .dq_stride = gradients.dq.stride(0),
                                              .dk_stride = gradients.dk.stride(0),
                                              .dv_stride = gradients.dv.stride(0)};
  const kernels::AttentionSegments segments = segments_of(tokens);
  const kernels::AttentionDropout dropout = dropout_of(ctx, tokens, options);
  const Tensor delta = ctx.empty(t.lse.shape(), DType::fp32, MemoryTag::workspace);
  with_float_type("attention", t.q.dtype(), [&](auto type) {
    using T = decltype(type);
    T *const dq = gradients.dq.data<T>(), *const dk = gradients.dk.data<T>(), *const dv = gradients.dv.data<T>();
    launch(
        ctx, "attention",
        [&] {
          kernels::attention_backward_cpu(dq, dk, dv, dout.data<T>(), t.q.data<T>(), t.k.data<T>(), t.v.data<T>(),
                                          t.out.data<T>(), t.lse.data<float>(), delta.data<float>(), segments, shape,
                                          strides, dropout);
        },
        [&] {
          kernels::attention_backward_cuda(dq, dk, dv, dout.data<T>(), t.q.data<T>(), t.k.data<T>(), t.v.data<T>(),
                                           t.out.data<T>(), t.lse.data<float>(), delta.data<float>(), segments, shape,
                                           strides, dropout, ctx.stream());
        });
  });
}

void attention_merge_pass(ExecContext& ctx, const Tensor& out, const Tensor& lse, const Tensor& part,
                          const Tensor& part_lse) {
  const kernels::AttentionMergeShape shape{.tokens = out.dim(0), .num_heads = out.dim(1), .head_size = out.dim(2)};
  with_float_type("attention", part.dtype(), [&](auto type) {
    using T = decltype(type);
    launch(
        ctx, "attention_merge",
        [&] {
          kernels::attention_merge_cpu(out.data<float>(), lse.data<float>(), part.data<T>(), part_lse.data<float>(),
                                       shape);
        },
        [&] {
          kernels::attention_merge_cuda(out.data<float>(), lse.data<float>(), part.data<T>(), part_lse.data<float>(),
                                        shape, ctx.stream());
        });
  });
}

}  // namespace nemo
