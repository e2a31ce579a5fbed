#include "core/ops/linear_cross_entropy.h"

#include <algorithm>

#include "core/autograd/tape.h"
#include "core/ops/launch.h"
#include "core/ops/linear.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/cross_entropy/vocabulary_cut.h"

namespace nemo {
namespace {

// Logits of a chunk: enough rows for full-rate products, and few enough passes over the weight's gradient, which each chunk
// reads and writes; small beside the activations.
constexpr int64_t kCudaChunkBytes = int64_t{512} << 20, kCpuChunkBytes = int64_t{48} << 20;

struct Chunk {
  Tensor x, logits, labels, log_prob, lse;  // labels: of the classes that are here
  Tensor all_labels;
  kernels::CrossEntropyShape shape;
};

void forward_chunk(ExecContext& ctx, const Chunk& chunk, const Tensor& weight, const LinearCrossEntropyOptions& options) {
  gemm(ctx, chunk.logits, chunk.x, weight, {.transpose_b = true});
  with_float_type("linear_cross_entropy", chunk.x.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(ctx, "linear_cross_entropy",
           [&] { kernels::cross_entropy_forward_cpu(chunk.log_prob.data<float>(), chunk.lse.data<float>(), chunk.logits.data<T>(), chunk.labels.data<int32_t>(), chunk.shape); },
           [&] { kernels::cross_entropy_forward_cuda(chunk.log_prob.data<float>(), chunk.lse.data<float>(), chunk.logits.data<T>(), chunk.labels.data<int32_t>(), chunk.shape, ctx.stream()); });
  });
  if (options.cut != nullptr) options.cut->merge(ctx, chunk.log_prob, chunk.lse, chunk.all_labels, chunk.shape.stride, options.num_classes);
}

// logits become their gradient. dlog_prob undefined: the known token weight.
void backward_logits(ExecContext& ctx, const Chunk& chunk, const Tensor& dlog_prob) {
  with_float_type("linear_cross_entropy", chunk.x.dtype(), [&](auto t) {
    using T = decltype(t);
    const float* const weights = dlog_prob.defined() ? dlog_prob.data<float>() : nullptr;
    launch(ctx, "linear_cross_entropy",
           [&] { kernels::cross_entropy_backward_cpu(chunk.logits.data<T>(), chunk.lse.data<float>(), chunk.labels.data<int32_t>(), weights, ctx.step_state(), chunk.shape); },
           [&] { kernels::cross_entropy_backward_cuda(chunk.logits.data<T>(), chunk.lse.data<float>(), chunk.labels.data<int32_t>(), weights, ctx.step_state(), chunk.shape, ctx.stream()); });
  });
}

// Both, where every token's weight is known beforehand.
void forward_backward_logits(ExecContext& ctx, const Chunk& chunk, const Tensor& weight) {
  gemm(ctx, chunk.logits, chunk.x, weight, {.transpose_b = true});
  with_float_type("linear_cross_entropy", chunk.x.dtype(), [&](auto t) {
    using T = decltype(t);
    float *const log_prob = chunk.log_prob.data<float>(), *const lse = chunk.lse.data<float>();
    launch(ctx, "linear_cross_entropy",
           [&] { kernels::cross_entropy_forward_backward_cpu(log_prob, lse, chunk.logits.data<T>(), chunk.labels.data<int32_t>(), ctx.step_state(), chunk.shape); },
           [&] { kernels::cross_entropy_forward_backward_cuda(log_prob, lse, chunk.logits.data<T>(), chunk.labels.data<int32_t>(), ctx.step_state(), chunk.shape, ctx.stream()); });
  });
}

// The gradients of x and of the weight, from those of the logits.
void backward_products(ExecContext& ctx, const Chunk& chunk, const Tensor& weight, const Tensor& dx, const GradientSlot& slot, bool accumulate) {
  gemm(ctx, dx, chunk.logits, weight, {});
  if (slot.wanted()) gemm(ctx, slot.tensor, chunk.logits, chunk.x, {.transpose_a = true, .accumulate = accumulate});
}

// Which classes the rows of a weight stand for: all of them, or a rank's slice.
struct Classes {
  int64_t first, count, padded;  // count: without padding rows
};

Classes classes_of(const ParameterSpan& weight, const LinearCrossEntropyOptions& options) {
  const int64_t first = weight.members().front()->slice_offset[0], padded = weight.rows();
  return {first, std::clamp<int64_t>(options.num_classes - first, 0, padded), padded};
}

// labels among this rank's classes.
Tensor own_labels(ExecContext& ctx, const Tensor& labels, const Classes& classes) {
  const Tensor own = ctx.empty(labels.shape(), DType::int32, MemoryTag::workspace);
  const kernels::ClassSlice slice{.first = classes.first, .count = classes.count};
  launch(ctx, "linear_cross_entropy", [&] { kernels::own_labels_cpu(own.data<int32_t>(), labels.data<int32_t>(), labels.numel(), slice); },
         [&] { kernels::own_labels_cuda(own.data<int32_t>(), labels.data<int32_t>(), labels.numel(), slice, ctx.stream()); });
  return own;
}

// Calls body(chunk, first row) over chunks of tokens; one logits buffer serves all.
template <class Body>
void for_each_chunk(ExecContext& ctx, const Tensor& x, const Tensor& labels, const Tensor& log_prob, const Tensor& lse, const Classes& classes,
                    const LinearCrossEntropyOptions& options, const Body& body) {
  const int64_t tokens = x.dim(0), rows = cross_entropy_chunk_rows(ctx, tokens, classes.padded, x.dtype());
  const Tensor buffer = ctx.empty({rows, classes.padded}, x.dtype(), MemoryTag::logits), own = options.cut == nullptr ? labels : own_labels(ctx, labels, classes);
  for (int64_t first = 0; first < tokens; first += rows) {
    const int64_t count = std::min(rows, tokens - first);
    body(Chunk{.x = x.slice(0, first, count), .logits = buffer.slice(0, 0, count), .labels = own.slice(0, first, count), .log_prob = log_prob.slice(0, first, count),
               .lse = lse.slice(0, first, count), .all_labels = labels.slice(0, first, count),
               .shape = {.rows = count, .classes = classes.count, .stride = classes.padded, .softcap = options.softcap}},
         first);
  }
}

void add_to_loss_sum(ExecContext& ctx, const Tensor& log_prob) {
  kernels::StepState* const state = ctx.step_state();
  launch(ctx, "loss_sum", [&] { kernels::loss_sum_cpu(state, log_prob.data<float>(), log_prob.numel()); },
         [&] { kernels::loss_sum_cuda(state, log_prob.data<float>(), log_prob.numel(), ctx.stream()); });
}

}  // namespace

int64_t cross_entropy_chunk_rows(ExecContext& ctx, int64_t tokens, int64_t classes, DType dtype) {
  const int64_t budget = ctx.device().plans_for() == DeviceType::cuda ? kCudaChunkBytes : kCpuChunkBytes;
  const int64_t rows = budget / (classes * static_cast<int64_t>(size_bytes(dtype))) / 128 * 128;
  return std::min(tokens, std::max<int64_t>(rows, 128));
}

Tensor linear_cross_entropy(ExecContext& ctx, const Tensor& x, const ParameterSpan& weight, const Tensor& labels, const LinearCrossEntropyOptions& options) {
  if (weight.columns() != x.dim(1) || (options.cut == nullptr && options.num_classes > weight.rows()))
    throw ShapeError{"linear_cross_entropy", weight.members().front()->name, "is " + to_string(weight.shape()) + " and x is " + to_string(x.shape())};
  const Classes classes = classes_of(weight, options);
  const auto entered = [](ExecContext& ctx, const Tensor& x, const VocabularyCut* cut) { return cut == nullptr ? x : cut->enter(ctx, x); };
  const auto left = [](ExecContext& ctx, const Tensor& dx, const VocabularyCut* cut) { return cut == nullptr ? dx : cut->leave_gradient(ctx, dx); };
  const Tensor all = entered(ctx, x, options.cut);
  expect_shape("linear_cross_entropy", "labels", labels, {all.dim(0)});
  const Tensor log_prob = ctx.empty({all.dim(0)}, DType::fp32), lse = ctx.empty({all.dim(0)}, DType::fp32), w = weight.value(ctx);
  if (ctx.tape() != nullptr && options.token_weights_known) {
    Tensor dx = ctx.empty(all.shape(), all.dtype());
    const GradientSlot slot = weight.trainable() ? weight.gradient_slot(ctx) : GradientSlot{};
    for_each_chunk(ctx, all, labels, log_prob, lse, classes, options, [&](const Chunk& chunk, int64_t first) {
      if (options.cut == nullptr) {
        forward_backward_logits(ctx, chunk, w);
      } else {  // the ranks' statistics meet in between
        forward_chunk(ctx, chunk, w, options);
        backward_logits(ctx, chunk, {});
      }
      backward_products(ctx, chunk, w, dx.slice(0, first, chunk.shape.rows), slot, slot.accumulate || first > 0);
    });
    dx = left(ctx, dx, options.cut);
    ctx.record({.op = "linear_cross_entropy", .inputs = {x}, .saved = {dx}, .outputs = {log_prob},
                .grad_input = [](Backward& back) -> std::vector<Tensor> { return {back.take_saved(0)}; }});
  } else {
    for_each_chunk(ctx, all, labels, log_prob, lse, classes, options, [&](const Chunk& chunk, int64_t) { forward_chunk(ctx, chunk, w, options); });
    // The weight's gradient is formed with the input's, chunk by chunk, so it is not an op of its own to run later.
    ctx.record({.op = "linear_cross_entropy", .inputs = {x}, .saved = {x, labels, lse}, .outputs = {log_prob},
                .grad_input = [weight, classes, options, entered, left](Backward& back) -> std::vector<Tensor> {
                  ExecContext& ctx = back.ctx();
                  const Tensor x = entered(ctx, back.saved(0), options.cut), dlog_prob = back.grad_output(0), w = weight.value(ctx), dx = ctx.empty(x.shape(), x.dtype());
                  const Tensor log_prob = ctx.empty({x.dim(0)}, DType::fp32, MemoryTag::workspace);
                  const GradientSlot slot = weight.trainable() ? weight.gradient_slot(ctx) : GradientSlot{};
                  for_each_chunk(ctx, x, back.saved(1), log_prob, back.saved(2), classes, options, [&](const Chunk& chunk, int64_t first) {
                    forward_chunk(ctx, chunk, w, options);
                    backward_logits(ctx, chunk, dlog_prob.slice(0, first, chunk.shape.rows));
                    backward_products(ctx, chunk, w, dx.slice(0, first, chunk.shape.rows), slot, slot.accumulate || first > 0);
                  });
                  return {left(ctx, dx, options.cut)};
                }});
  }
  if (ctx.step_state() != nullptr) add_to_loss_sum(ctx, log_prob);
  return log_prob;
}

}  // namespace nemo
