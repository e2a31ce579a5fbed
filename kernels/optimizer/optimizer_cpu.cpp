#include "kernels/optimizer/optimizer.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "kernels/base/parallel_for.h"
#include "kernels/base/stochastic_rounding.h"

namespace nemo::kernels {
namespace {

struct Chunk { const OptimizerBuffer& buffer; int64_t begin, end; };
Chunk chunk_at(const OptimizerBuffers& buffers, int64_t chunk) {
  const OptimizerBuffer& buffer = buffers.table[buffer_of_chunk(buffers, chunk)];
  const int64_t begin = (chunk - buffer.first_chunk) * kOptimizerChunk;
  return {buffer, begin, std::min(buffer.count, begin + kOptimizerChunk)};
}

// [begin, end) of `to` from fp32, drawn as elements first_index + i; both are multiples of kRoundingsPerDraw.
void round_stochastically(bf16* to, const float* from, RandomKey key, uint64_t step, int which, int64_t first_index, int64_t begin, int64_t end) {
  for (int64_t group = begin; group < end; group += kRoundingsPerDraw) {
    const Philox4 draw = draw_of(philox(key, step, static_cast<uint64_t>((first_index + group) / kRoundingsPerDraw)), which);
    for (int64_t i = group; i < std::min(end, group + kRoundingsPerDraw); ++i)
      to[i] = stochastically_rounded(from[i - begin], rounding_bits(draw, static_cast<int>(i - group)));
  }
}

}  // namespace

template <class Grad>
void square_sum_cpu(StepState* state, const OptimizerBuffers& buffers, double* scratch) {
  const int64_t chunks_per_block = (buffers.num_chunks + kSquareSumBlocks - 1) / kSquareSumBlocks;
  parallel_for(buffers.num_chunks, std::max<int64_t>(1, chunks_per_block), [&](int64_t first, int64_t last) {
    double sum = 0;
    for (int64_t chunk = first; chunk < last; ++chunk) {
      const Chunk part = chunk_at(buffers, chunk);
      const Grad* grad = static_cast<const Grad*>(part.buffer.grad);
      for (int64_t i = part.begin; i < part.end; ++i) {
        const double g = static_cast<float>(grad[i]);
        sum += g * g;
      }
    }
    scratch[first / chunks_per_block] = sum;
  });
  double total = 0;
  for (int64_t block = 0; block * chunks_per_block < buffers.num_chunks; ++block) total += scratch[block];
  state->grad_square_sum += total;
}

void finish_grad_norm_cpu(StepState* state) {
  state->grad_norm = static_cast<float>(std::sqrt(state->grad_square_sum));
  state->grad_scale = state->clip_norm > 0 ? std::min(1.0f, state->clip_norm / (state->grad_norm + 1e-6f)) : 1.0f;
  state->skip = !std::isfinite(state->grad_norm) || !std::isfinite(state->loss_sum);
}

template <class T, class Grad, class Moment>
void adamw_cpu(const OptimizerBuffers& buffers, const StepState* state, const AdamWArgs& args) {
  if (state->skip != 0) return;
  const float beta1 = args.beta1, beta2 = args.beta2, eps = args.eps, scale = state->grad_scale;
  const float inverse_correction1 = 1.0f / state->bias_correction1, inverse_correction2 = 1.0f / state->bias_correction2;
  const uint64_t step = static_cast<uint64_t>(state->step);
  parallel_for(buffers.num_chunks, 1, [&](int64_t chunk, int64_t) {
    const Chunk part = chunk_at(buffers, chunk);
    const OptimizerBuffer& buffer = part.buffer;
    const float lr = state->lr * buffer.lr_multiplier, decay = buffer.weight_decay;
    const RandomKey key{args.seed, buffer.site};
    T* const param = static_cast<T*>(buffer.param);
    Moment *const m = static_cast<Moment*>(buffer.m), *const v = static_cast<Moment*>(buffer.v);
    const Grad* const grad = static_cast<const Grad*>(buffer.grad);
    // A piece at a time: new states in fp32 first, then each is stored as its type says.
    constexpr int64_t kPiece = 1024;
    float new_m[kPiece], new_v[kPiece], new_w[kPiece];
    for (int64_t begin = part.begin; begin < part.end; begin += kPiece) {
      const int64_t end = std::min(part.end, begin + kPiece);
      const auto step_from = [&](const auto* weights) {
        for (int64_t i = begin; i < end; ++i) {
          const float g = static_cast<float>(grad[i]) * scale, w = weights[i];
          const float m1 = beta1 * static_cast<float>(m[i]) + (1.0f - beta1) * g;
          const float v1 = beta2 * static_cast<float>(v[i]) + (1.0f - beta2) * g * g;
          new_m[i - begin] = m1;
          new_v[i - begin] = v1;
          new_w[i - begin] = w - lr * (m1 * inverse_correction1 / (std::sqrt(v1 * inverse_correction2) + eps) + decay * w);
        }
      };
      if (buffer.master != nullptr) step_from(buffer.master);
      else step_from(param);
      if constexpr (std::is_same_v<Moment, float>) {
        std::copy(new_m, new_m + (end - begin), m + begin);
        std::copy(new_v, new_v + (end - begin), v + begin);
      } else {
        round_stochastically(m, new_m, key, step, 1, buffer.first_index, begin, end);
        round_stochastically(v, new_v, key, step, 2, buffer.first_index, begin, end);
      }
      if (buffer.master != nullptr) {
        std::copy(new_w, new_w + (end - begin), buffer.master + begin);
        for (int64_t i = begin; i < end; ++i) param[i] = static_cast<T>(new_w[i - begin]);
      } else if constexpr (std::is_same_v<T, float>) {
        std::copy(new_w, new_w + (end - begin), param + begin);
      } else {
        round_stochastically(param, new_w, key, step, 0, buffer.first_index, begin, end);
      }
    }
  });
}

template void square_sum_cpu<float>(StepState*, const OptimizerBuffers&, double*);
template void square_sum_cpu<bf16>(StepState*, const OptimizerBuffers&, double*);

#define NEMO_INSTANTIATE(T, Grad, Moment) \
  template void adamw_cpu<T, Grad, Moment>(const OptimizerBuffers&, const StepState*, const AdamWArgs&);
NEMO_INSTANTIATE(float, float, float)
NEMO_INSTANTIATE(float, float, bf16)
NEMO_INSTANTIATE(float, bf16, float)
NEMO_INSTANTIATE(float, bf16, bf16)
NEMO_INSTANTIATE(bf16, float, float)
NEMO_INSTANTIATE(bf16, float, bf16)
NEMO_INSTANTIATE(bf16, bf16, float)
NEMO_INSTANTIATE(bf16, bf16, bf16)
#undef NEMO_INSTANTIATE

}  // namespace nemo::kernels
