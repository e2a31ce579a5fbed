#include "kernels/optimizer/optimizer.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "kernels/base/parallel_for.h"
#include "kernels/base/philox.h"

namespace nemo::kernels {
namespace {

// Rounds up with the probability that makes the mean exact: adds 16 random bits below bf16's last place and truncates.
bf16 stochastically_rounded(float value, uint32_t random) {
  if (!std::isfinite(value)) return bf16(value);
  bf16 result;
  result.bits = static_cast<uint16_t>((std::bit_cast<uint32_t>(value) + (random & 0xffffu)) >> 16);
  return result;
}

}  // namespace

template <class Grad>
void square_sum_cpu(StepState* state, const Grad* grad, int64_t count, double* scratch) {
  const int64_t block_size = std::max<int64_t>(16384, (count + kSquareSumBlocks - 1) / kSquareSumBlocks);
  parallel_for(count, block_size, [&](int64_t begin, int64_t end) {
    double sum = 0;
    for (int64_t i = begin; i < end; ++i) {
      const double g = static_cast<float>(grad[i]);
      sum += g * g;
    }
    scratch[begin / block_size] = sum;
  });
  double total = 0;
  for (int64_t block = 0; block * block_size < count; ++block) total += scratch[block];
  state->grad_square_sum += total;
}

void finish_grad_norm_cpu(StepState* state) {
  state->grad_norm = static_cast<float>(std::sqrt(state->grad_square_sum));
  state->grad_scale = state->clip_norm > 0 ? std::min(1.0f, state->clip_norm / (state->grad_norm + 1e-6f)) : 1.0f;
  state->skip = !std::isfinite(state->grad_norm) || !std::isfinite(state->loss_sum);
}

template <class T, class Grad, class Moment>
void adamw_cpu(T* param, float* master, Moment* m, Moment* v, const Grad* grad, const StepState* state, int64_t count,
               const AdamWArgs& args) {
  if (state->skip != 0) return;
  const float beta1 = args.beta1, beta2 = args.beta2, eps = args.eps, scale = state->grad_scale;
  const float lr = state->lr * args.lr_multiplier, decay = args.weight_decay;
  const float inverse_correction1 = 1.0f / state->bias_correction1, inverse_correction2 = 1.0f / state->bias_correction2;
  const uint64_t step = static_cast<uint64_t>(state->step);
  // The new weight i from the old; moves the moments on the way.
  const auto updated = [=](float w, int64_t i) {
    const float g = static_cast<float>(grad[i]) * scale;
    const float m1 = beta1 * static_cast<float>(m[i]) + (1.0f - beta1) * g;
    const float v1 = beta2 * static_cast<float>(v[i]) + (1.0f - beta2) * g * g;
    m[i] = static_cast<Moment>(m1);
    v[i] = static_cast<Moment>(v1);
    return w - lr * (m1 * inverse_correction1 / (std::sqrt(v1 * inverse_correction2) + eps) + decay * w);
  };
  parallel_for(count, 16384, [&](int64_t begin, int64_t end) {
    if (master != nullptr) {
#pragma GCC ivdep  // five buffers apart
      for (int64_t i = begin; i < end; ++i) {
        master[i] = updated(master[i], i);
        param[i] = static_cast<T>(master[i]);
      }
    } else if constexpr (std::is_same_v<T, float>) {
#pragma GCC ivdep
      for (int64_t i = begin; i < end; ++i) param[i] = updated(param[i], i);
    } else {
#pragma GCC ivdep
      for (int64_t i = begin; i < end; ++i)
        param[i] = stochastically_rounded(updated(param[i], i), philox({args.seed, args.site}, step, static_cast<uint64_t>(args.first_index + i)).x);
    }
  });
}

template void square_sum_cpu(StepState*, const float*, int64_t, double*);
template void square_sum_cpu(StepState*, const bf16*, int64_t, double*);

#define NEMO_INSTANTIATE(T, Grad, Moment) \
  template void adamw_cpu(T*, float*, Moment*, Moment*, const Grad*, const StepState*, int64_t, const AdamWArgs&);
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
