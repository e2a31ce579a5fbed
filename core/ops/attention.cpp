#include "core/ops/attention.h"

#include "core/autograd/tape.h"
#include "core/ops/launch.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/attention_cudnn.h"

namespace nemo {
namespace {

using kernels::AttentionGradStrides;
using kernels::AttentionShape;

// What the fused library kernels may ask for at most: fp32 query gradients, softmax statistics, and 1 MiB for the rest.
// A plan that needs more is not used. On the CPU nothing is needed.
size_t library_workspace_bytes(const AttentionShape& shape) {
  return static_cast<size_t>(shape.query_tokens * shape.num_heads) * (static_cast<size_t>(shape.head_size) + 8) * sizeof(float) * 2 + (size_t{1} << 20);
}

// Where the same bits are asked for every time, the library's backward keeps the gradient of all scores in bf16, in tiles of 64
// by 128, instead of adding query gradients up in any order. Quadratic in the length: where it would be more than 6 GiB our own
// kernel works, which needs none.
size_t backward_workspace_bytes(const AttentionShape& shape, bool deterministic) {
  if (!deterministic) return library_workspace_bytes(shape);
  const auto tiles = [](int64_t length, int64_t tile) { return static_cast<size_t>((length + tile - 1) / tile * tile); };
  const size_t scores = static_cast<size_t>(shape.num_segments * shape.num_heads) * tiles(shape.max_query_length, 64) * tiles(shape.max_key_length, 128) * sizeof(bf16);
  return library_workspace_bytes(shape) + (scores <= size_t{6} << 30 ? scores : 0);
}

bool library_may_serve(ExecContext& ctx, const AttentionShape& shape, const TokenLayout& tokens, const AttentionOptions& options, DType dtype) {
  return ctx.device().plans_for() == DeviceType::cuda && dtype == DType::bf16 && options.allow_library && tokens.uniform && shape.dropout == 0 && shape.softcap == 0;
}

bool library_serves(ExecContext& ctx, const AttentionShape& shape, const AttentionGradStrides& strides) {
  bool serves = false;
  launch(ctx, "attention", [] {}, [&] {
    serves = kernels::cudnn_attention_plan(ctx.runtime().cudnn_attention(), shape, strides, ctx.tape() != nullptr, ctx.deterministic(),
                                           {library_workspace_bytes(shape), backward_workspace_bytes(shape, ctx.deterministic())});
  });
  return serves;
}

// Everything the backward needs but tensors.
struct Call {
  AttentionShape shape;
  AttentionGradStrides strides;
  kernels::RandomKey dropout_key;
  bool may_use_library, by_library;
};

kernels::AttentionSegments segments_of(const Tensor& query_begin, const Tensor& query_end, const Tensor& key_begin, const Tensor& key_end) {
  return {query_begin.data<int32_t>(), query_end.data<int32_t>(), key_begin.data<int32_t>(), key_end.data<int32_t>()};
}

kernels::AttentionDropout dropout_of(ExecContext& ctx, const Call& call, const Tensor& token_ids) {
  return {call.dropout_key, token_ids.defined() ? token_ids.data<int64_t>() : nullptr, ctx.step_state()};
}

struct Attended {
  Tensor out, lse;
};

Attended attend(ExecContext& ctx, const Call& call, const Tensor& q, const Tensor& k, const Tensor& v, const kernels::AttentionSegments& segments, const Tensor& token_ids) {
  const AttentionShape& shape = call.shape;
  const Tensor out = ctx.empty(q.shape(), q.dtype()), lse = ctx.empty({shape.num_heads, shape.query_tokens}, DType::fp32);
  Tensor workspace;
  if (call.may_use_library) workspace = ctx.empty({static_cast<int64_t>(library_workspace_bytes(shape))}, DType::uint8, MemoryTag::workspace);
  const kernels::AttentionDropout dropout = dropout_of(ctx, call, token_ids);
  with_float_type("attention", q.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(ctx, "attention",
           [&] { kernels::attention_forward_cpu(out.data<T>(), lse.data<float>(), q.data<T>(), k.data<T>(), v.data<T>(), segments, shape, dropout); },
           [&] {
             if (call.by_library) {
               kernels::cudnn_attention_forward(ctx.runtime().cudnn_attention(), out.data<bf16>(), lse.data<float>(), q.data<bf16>(), k.data<bf16>(), v.data<bf16>(), shape, workspace.raw(), ctx.stream());
             } else {
               kernels::attention_forward_cuda(out.data<T>(), lse.data<float>(), q.data<T>(), k.data<T>(), v.data<T>(), segments, shape, dropout, ctx.stream());
             }
           });
  });
  return {out, lse};
}

std::vector<Tensor> attention_grad_input(Backward& back, const Call& call) {
  ExecContext& ctx = back.ctx();
  const Tensor q = back.saved(0), k = back.saved(1), v = back.saved(2), out = back.saved(3), lse = back.saved(4);
  const Tensor dout = back.grad_output(0).view({out.dim(0), -1});
  const AttentionShape& shape = call.shape;
  const int64_t q_width = shape.num_heads * shape.head_size, k_width = shape.num_groups * shape.head_size;
  const Tensor packed = ctx.empty({q.dim(0), q_width + 2 * k_width}, q.dtype());
  const Tensor dq = packed.slice(1, 0, q_width), dk = packed.slice(1, q_width, k_width), dv = packed.slice(1, q_width + k_width, k_width);
  AttentionGradStrides strides = call.strides;
  strides.dout_stride = dout.stride(0);
  Tensor workspace;
  if (call.may_use_library) workspace = ctx.empty({static_cast<int64_t>(backward_workspace_bytes(shape, ctx.deterministic()))}, DType::uint8, MemoryTag::workspace);
  const Tensor delta = ctx.empty(lse.shape(), DType::fp32, MemoryTag::workspace);
  const kernels::AttentionSegments segments = segments_of(back.saved(5), back.saved(6), back.saved(7), back.saved(8));
  const kernels::AttentionDropout dropout = dropout_of(ctx, call, back.saved(9));
  with_float_type("attention", q.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(ctx, "attention",
           [&] { kernels::attention_backward_cpu(dq.data<T>(), dk.data<T>(), dv.data<T>(), dout.data<T>(), q.data<T>(), k.data<T>(), v.data<T>(), out.data<T>(), lse.data<float>(), delta.data<float>(), segments, shape, strides, dropout); },
           [&] {
             if (call.by_library) {
               kernels::cudnn_attention_backward(ctx.runtime().cudnn_attention(), dq.data<bf16>(), dk.data<bf16>(), dv.data<bf16>(), dout.data<bf16>(), q.data<bf16>(), k.data<bf16>(), v.data<bf16>(),
                                                 out.data<bf16>(), lse.data<float>(), shape, strides, ctx.deterministic(), workspace.raw(), ctx.stream());
             } else {
               kernels::attention_backward_cuda(dq.data<T>(), dk.data<T>(), dv.data<T>(), dout.data<T>(), q.data<T>(), k.data<T>(), v.data<T>(), out.data<T>(), lse.data<float>(), delta.data<float>(), segments, shape, strides, dropout, ctx.stream());
             }
           });
  });
  return {dq.view(q.shape()), dk.view(k.shape()), dv.view(v.shape())};
}

}  // namespace

Tensor attention(ExecContext& ctx, const Tensor& q, const Tensor& k, const Tensor& v, const TokenLayout& tokens, const AttentionOptions& options) {
  if (q.rank() != 3 || k.rank() != 3 || q.dim(2) != k.dim(2) || q.dim(1) % k.dim(1) != 0)
    throw ShapeError{"attention", "q " + to_string(q.shape()) + ", k " + to_string(k.shape()), "heads must be a multiple of groups and of one size"};
  expect_shape("attention", "v", v, k.shape());
  AttentionShape shape{.num_segments = tokens.num_segments, .query_tokens = q.dim(0), .key_tokens = k.dim(0), .max_query_length = tokens.max_query_length,
                       .max_key_length = tokens.max_key_length, .num_heads = q.dim(1), .num_groups = k.dim(1), .head_size = q.dim(2), .q_stride = q.stride(0),
                       .k_stride = k.stride(0), .v_stride = v.stride(0), .out_stride = q.dim(1) * q.dim(2), .scale = options.scale, .causal = options.causal,
                       .window = options.window, .softcap = options.softcap, .dropout = ctx.training() ? options.dropout : 0, .first_head = options.first_head, .total_heads = options.total_heads};
  const int64_t packed_stride = (shape.num_heads + 2 * shape.num_groups) * shape.head_size;
  Call call{.shape = shape, .strides = {.dout_stride = shape.out_stride, .dq_stride = packed_stride, .dk_stride = packed_stride, .dv_stride = packed_stride},
            .dropout_key = ctx.random_key(options.dropout_site), .may_use_library = library_may_serve(ctx, shape, tokens, options, q.dtype()), .by_library = false};
  call.by_library = call.may_use_library && library_serves(ctx, shape, call.strides);

  const auto [out, lse] = attend(ctx, call, q, k, v, segments_of(tokens.query_begin, tokens.query_end, tokens.key_begin, tokens.key_end), tokens.token_ids);
  if (options.make_again)
    make_again(ctx, {out, lse}, {q, k, v, tokens.query_begin, tokens.query_end, tokens.key_begin, tokens.key_end, tokens.token_ids},
               [call](ExecContext& ctx, const std::vector<Tensor>& from) -> std::vector<Tensor> {
                 const auto [out, lse] = attend(ctx, call, from[0], from[1], from[2], segments_of(from[3], from[4], from[5], from[6]), from[7]);
                 return {out, lse};
               });
  ctx.record({.op = "attention", .inputs = {q, k, v},
              .saved = {q, k, v, out, lse, tokens.query_begin, tokens.query_end, tokens.key_begin, tokens.key_end, tokens.token_ids}, .outputs = {out},
              .grad_input = [call](Backward& back) { return attention_grad_input(back, call); }});
  return out;
}

}  // namespace nemo
