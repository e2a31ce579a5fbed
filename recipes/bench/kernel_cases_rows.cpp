// A table: kernels that work on rows, and what each reads and writes.
#include <algorithm>

#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/embedding/embedding.h"
#include "kernels/norm/layer_norm.h"
#include "kernels/norm/rms_norm.h"
#include "recipes/bench/kernel_case.h"

namespace nemo {
namespace {

using namespace kernels;

constexpr float kEpsilon = 1e-5f;

// As many rows of logits as a step holds at a time.
CrossEntropyShape logits_of(const KernelSizes& s) {
  return {.rows = std::min<int64_t>(s.tokens, 2048), .classes = s.vocab, .stride = s.padded_vocab};
}
EmbeddingShape embedding_of(const KernelSizes& s) {
  return {.tokens = s.tokens, .rows = s.padded_vocab, .hidden = s.hidden};
}

}  // namespace

template <class T>
std::vector<KernelCase> row_cases() {
  using B = KernelBuffers;
  using S = KernelSizes;
  return {
      {"rms_norm_forward, with residual",
       [](B& b, const S& s) {
         const int64_t n = s.tokens * s.hidden;
         return kernel_launch(b.ctx(), rms_norm_forward_cpu<T>, rms_norm_forward_cuda<T>, b.output<T>(n),
                              b.output<T>(n), b.output<float>(s.tokens), b.input<T>(n), b.input<T>(n),
                              b.input<T>(s.hidden), RmsNormSize{.rows = s.tokens, .hidden = s.hidden}, kEpsilon);
       }},
      {"rms_norm_backward, with residual",
       [](B& b, const S& s) {
         const int64_t n = s.tokens * s.hidden;
         return kernel_launch(b.ctx(), rms_norm_backward_cpu<T, float>, rms_norm_backward_cuda<T, float>,
                              b.output<T>(n), b.output<float>(s.hidden), false, b.input<T>(n), b.input<T>(n),
                              b.input<T>(n), b.input<float>(s.tokens), b.input<T>(s.hidden),
                              RmsNormSize{.rows = s.tokens, .hidden = s.hidden},
                              b.scratch<float>(norm_scratch_floats(s.hidden, 1)));
       }},
      {"layer_norm_forward, with residual",
       [](B& b, const S& s) {
         const int64_t n = s.tokens * s.hidden;
         return kernel_launch(b.ctx(), layer_norm_forward_cpu<T>, layer_norm_forward_cuda<T>, b.output<T>(n),
                              b.output<T>(n), b.output<float>(s.tokens), b.output<float>(s.tokens), b.input<T>(n),
                              b.input<T>(n), b.input<T>(s.hidden), b.input<T>(s.hidden),
                              LayerNormSize{s.tokens, s.hidden}, kEpsilon);
       }},
      {"layer_norm_backward, with residual",
       [](B& b, const S& s) {
         const int64_t n = s.tokens * s.hidden;
         return kernel_launch(b.ctx(), layer_norm_backward_cpu<T, float>, layer_norm_backward_cuda<T, float>,
                              b.output<T>(n), b.output<float>(s.hidden), false, b.output<float>(s.hidden), false,
                              b.input<T>(n), b.input<T>(n), b.input<T>(n), b.input<float>(s.tokens),
                              b.input<float>(s.tokens), b.input<T>(s.hidden), LayerNormSize{s.tokens, s.hidden},
                              b.scratch<float>(norm_scratch_floats(s.hidden, 2)));
       }},
      {"cross_entropy_forward",
       [](B& b, const S& s) {
         const CrossEntropyShape shape = logits_of(s);
         return kernel_launch(b.ctx(), cross_entropy_forward_cpu<T>, cross_entropy_forward_cuda<T>,
                              b.output<float>(shape.rows), b.output<float>(shape.rows),
                              b.input<T>(shape.rows * shape.stride), b.indices(shape.rows, shape.classes), shape);
       }},
      {"cross_entropy_backward",
       [](B& b, const S& s) {
         const CrossEntropyShape shape = logits_of(s);
         return kernel_launch(b.ctx(), cross_entropy_backward_cpu<T>, cross_entropy_backward_cuda<T>,
                              b.in_out<T>(shape.rows * shape.stride), b.input<float>(shape.rows),
                              b.indices(shape.rows, shape.classes), static_cast<const float*>(nullptr),
                              static_cast<const StepState*>(b.step_state()), shape);
       }},
      {"cross_entropy_forward_backward",
       [](B& b, const S& s) {
         const CrossEntropyShape shape = logits_of(s);
         return kernel_launch(b.ctx(), cross_entropy_forward_backward_cpu<T>, cross_entropy_forward_backward_cuda<T>,
                              b.output<float>(shape.rows), b.output<float>(shape.rows),
                              b.in_out<T>(shape.rows * shape.stride), b.indices(shape.rows, shape.classes),
                              static_cast<const StepState*>(b.step_state()), shape);
       }},
      {"loss_sum",
       [](B& b, const S& s) {
         return kernel_launch(b.ctx(), loss_sum_cpu, loss_sum_cuda, b.step_state(), b.input<float>(s.tokens), s.tokens);
       }},
      {"embedding_forward",
       [](B& b, const S& s) {
         const EmbeddingShape shape = embedding_of(s);
         // As many rows of the table are read as there are tokens.
         b.input<T>(s.tokens * s.hidden);
         return kernel_launch(b.ctx(), embedding_forward_cpu<T>, embedding_forward_cuda<T>,
                              b.output<T>(s.tokens * s.hidden), false, b.indices(s.tokens, s.vocab),
                              static_cast<const T*>(b.scratch<T>(shape.rows * s.hidden)), shape);
       }},
      {"embedding_backward",
       [](B& b, const S& s) -> KernelLaunch {
         const EmbeddingShape shape = embedding_of(s);
         float* const table = b.output<float>(shape.rows * s.hidden);
         const T* const dy = b.input<T>(s.tokens * s.hidden);
         const int32_t* const ids = b.indices(s.tokens, s.vocab);
         ExecContext& ctx = b.ctx();
         void* const scratch = ctx.device().is_cuda()
                                   ? b.scratch_bytes(static_cast<int64_t>(embedding_scratch_bytes_cuda(shape)))
                                   : nullptr;
         return [=, &ctx] {
           launch(
               ctx, "bench", [&] { embedding_backward_cpu(table, false, dy, ids, shape); },
               [&] { embedding_backward_cuda(table, false, dy, ids, shape, scratch, ctx.stream()); });
         };
       }},
  };
}

template std::vector<KernelCase> row_cases<float>();
template std::vector<KernelCase> row_cases<bf16>();

}  // namespace nemo
