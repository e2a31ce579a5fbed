#include "kernels/random/random.h"

#include <algorithm>

#include "kernels/base/fast_math.h"
#include "kernels/base/parallel_for.h"

namespace nemo::kernels {
namespace {

template <class T, class Draw>
void fill(T* x, RandomKey key, const SliceShape& shape, const Draw& draw) {
  parallel_for(shape.rows, std::max<int64_t>(1, 4096 / std::max<int64_t>(1, shape.columns)), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const uint64_t first = (shape.row0 + r) * shape.global_columns + shape.column0;
      T* row = x + r * shape.columns;
      for (int64_t c = 0; c < shape.columns; ++c) row[c] = static_cast<T>(draw(philox(key, 0, first + c)));
    }
  });
}

}  // namespace

template <class T>
void fill_normal_cpu(T* x, RandomKey key, float mean, float std, const SliceShape& shape) {
  // standard_normal (philox.h) with functions that vectorise.
  fill(x, key, shape, [=](Philox4 words) {
    const float radius = std::sqrt(-2.0f * fast_log(1.0f - uniform(words.x)));
    return mean + std * (radius * fast_cos_turns(uniform(words.y)));
  });
}

template <class T>
void fill_uniform_cpu(T* x, RandomKey key, float low, float high, const SliceShape& shape) {
  fill(x, key, shape, [=](Philox4 words) { return low + (high - low) * uniform(words.x); });
}

template <class T>
void fill_constant_cpu(T* x, float value, int64_t count) {
  parallel_for(count, 1 << 16, [&](int64_t begin, int64_t end) { std::fill(x + begin, x + end, static_cast<T>(value)); });
}

#define NEMO_INSTANTIATE(T)                                                            \
  template void fill_normal_cpu(T*, RandomKey, float, float, const SliceShape&);       \
  template void fill_uniform_cpu(T*, RandomKey, float, float, const SliceShape&);      \
  template void fill_constant_cpu(T*, float, int64_t);
NEMO_INSTANTIATE(float)
NEMO_INSTANTIATE(bf16)
#undef NEMO_INSTANTIATE

}  // namespace nemo::kernels
