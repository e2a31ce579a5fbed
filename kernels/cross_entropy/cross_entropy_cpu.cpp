#include "kernels/cross_entropy/cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/fast_math.h"
#include "kernels/base/parallel_for.h"

namespace nemo::kernels {
namespace {

constexpr int64_t kBlock = 512;  // columns handled at a time: they stay in the first-level cache between maximum and sum
constexpr int64_t kLanes = 16;   // partial maxima, so that the loop vectorises

int64_t row_grain(const CrossEntropyShape& shape) { return std::max<int64_t>(1, 8192 / std::max<int64_t>(1, shape.stride)); }

// `width` logits in fp32, soft-capped; padded to whole lanes with -infinity. Returns their maximum (NaN does not count).
template <class T>
float load_block(float* block, const T* logits, int64_t width, float softcap) {
  for (int64_t i = 0; i < width; ++i) block[i] = logits[i];
  if (softcap > 0) {
    const float inverse = 1.0f / softcap;
    for (int64_t i = 0; i < width; ++i) block[i] = softcap * fast_tanh(block[i] * inverse);
  }
  const int64_t padded = (width + kLanes - 1) / kLanes * kLanes;
  for (int64_t i = width; i < padded; ++i) block[i] = -INFINITY;
  float lanes[kLanes];
  std::fill(lanes, lanes + kLanes, -INFINITY);
  for (int64_t i = 0; i < padded; i += kLanes)
    for (int64_t j = 0; j < kLanes; ++j) lanes[j] = block[i + j] > lanes[j] ? block[i + j] : lanes[j];
  return *std::max_element(lanes, lanes + kLanes);
}

}  // namespace

template <class T>
void cross_entropy_forward_cpu(float* log_prob, float* lse, const T* logits, const int32_t* labels, const CrossEntropyShape& shape) {
  parallel_for(shape.rows, row_grain(shape), [&](int64_t begin, int64_t end) {
    float block[kBlock];
    for (int64_t r = begin; r < end; ++r) {
      const T* row = logits + r * shape.stride;
      // One pass: the sum is kept relative to the largest logit so far.
      float largest = -INFINITY;
      double total = 0;
      for (int64_t c = 0; c < shape.classes; c += kBlock) {
        const int64_t width = std::min(kBlock, shape.classes - c);
        const float block_largest = load_block(block, row + c, width, shape.softcap);
        if (block_largest > largest) {
          total *= std::exp(static_cast<double>(largest) - block_largest);
          largest = block_largest;
        }
        float sum = 0;
        for (int64_t i = 0; i < width; ++i) sum += fast_exp(block[i] - largest);
        total += sum;
      }
      lse[r] = largest + static_cast<float>(std::log(total));
      if (labels[r] == kIgnoredLabel || labels[r] == kForeignLabel) {
        log_prob[r] = 0;
      } else {
        float logit = row[labels[r]];
        if (shape.softcap > 0) logit = shape.softcap * fast_tanh(logit / shape.softcap);
        log_prob[r] = static_cast<float>((static_cast<double>(logit) - largest) - std::log(total));
      }
    }
  });
}

template <class T>
void cross_entropy_backward_cpu(T* logits, const float* lse, const int32_t* labels, const float* dlog_prob, const StepState* state,
                                const CrossEntropyShape& shape) {
  parallel_for(shape.rows, row_grain(shape), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      T* row = logits + r * shape.stride;
      if (labels[r] == kIgnoredLabel) {
        std::fill(row, row + shape.stride, T(0.0f));
        continue;
      }
      const float weight = dlog_prob != nullptr ? dlog_prob[r] : -state->inverse_loss_denominator, log_sum = lse[r];
      const bool label_is_here = labels[r] != kForeignLabel;
      const float label_logit = label_is_here ? static_cast<float>(row[labels[r]]) : 0.0f;
      if (shape.softcap > 0) {
        const float inverse = 1.0f / shape.softcap;
        for (int64_t c = 0; c < shape.classes; ++c) {
          const float capped = fast_tanh(static_cast<float>(row[c]) * inverse);
          row[c] = static_cast<T>(-weight * fast_exp(shape.softcap * capped - log_sum) * (1.0f - capped * capped));
        }
        const float capped = fast_tanh(label_logit * inverse);
        if (label_is_here) row[labels[r]] = static_cast<T>(weight * (1.0f - fast_exp(shape.softcap * capped - log_sum)) * (1.0f - capped * capped));
      } else {
        for (int64_t c = 0; c < shape.classes; ++c) row[c] = static_cast<T>(-weight * fast_exp(static_cast<float>(row[c]) - log_sum));
        if (label_is_here) row[labels[r]] = static_cast<T>(weight * (1.0f - fast_exp(label_logit - log_sum)));
      }
      std::fill(row + shape.classes, row + shape.stride, T(0.0f));
    }
  });
}

template <class T>
void cross_entropy_forward_backward_cpu(float* log_prob, float* lse, T* logits, const int32_t* labels, const StepState* state,
                                        const CrossEntropyShape& shape) {
  cross_entropy_forward_cpu(log_prob, lse, logits, labels, shape);
  cross_entropy_backward_cpu<T>(logits, lse, labels, nullptr, state, shape);
}

void loss_sum_cpu(StepState* state, const float* log_prob, int64_t rows) {
  double total = 0;
  for (int64_t r = 0; r < rows; ++r) total -= log_prob[r];
  state->loss_sum += total;
}

#define NEMO_INSTANTIATE(T)                                                                                              \
  template void cross_entropy_forward_cpu(float*, float*, const T*, const int32_t*, const CrossEntropyShape&);           \
  template void cross_entropy_backward_cpu(T*, const float*, const int32_t*, const float*, const StepState*,             \
                                           const CrossEntropyShape&);                                                    \
  template void cross_entropy_forward_backward_cpu(float*, float*, T*, const int32_t*, const StepState*,                 \
                                                   const CrossEntropyShape&);
NEMO_INSTANTIATE(float)
NEMO_INSTANTIATE(bf16)
#undef NEMO_INSTANTIATE

}  // namespace nemo::kernels
