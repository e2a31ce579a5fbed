#include "kernels/rope/rope.h"

#include <algorithm>

#include "kernels/base/parallel_for.h"

namespace nemo::kernels {

template <class T>
void rope_cpu(T* q, T* k, const int32_t* positions, const float* cos, const float* sin, const RopeShape& shape) {
  const int64_t half = shape.rotary_size / 2;
  const float sign = shape.inverse ? -1.0f : 1.0f;
  const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, (shape.q_heads + shape.k_heads) * shape.rotary_size));
  parallel_for(shape.tokens, grain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float *c = cos + positions[t] * half, *s = sin + positions[t] * half;
      for (int64_t head = 0; head < shape.q_heads + shape.k_heads; ++head) {
        T* const first = head < shape.q_heads ? q + t * shape.q_stride + head * shape.head_size
                                              : k + t * shape.k_stride + (head - shape.q_heads) * shape.head_size;
        T* const second = first + half;
#pragma GCC ivdep  // the halves do not overlap
        for (int64_t i = 0; i < half; ++i) {
          const float a = first[i], b = second[i], turn = sign * s[i];
          first[i] = static_cast<T>(a * c[i] - b * turn);
          second[i] = static_cast<T>(b * c[i] + a * turn);
        }
      }
    }
  });
}

template void rope_cpu(float*, float*, const int32_t*, const float*, const float*, const RopeShape&);
template void rope_cpu(bf16*, bf16*, const int32_t*, const float*, const float*, const RopeShape&);

}  // namespace nemo::kernels
