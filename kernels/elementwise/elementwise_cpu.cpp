#include "kernels/elementwise/elementwise.h"

#include <algorithm>
#include <cstring>

#include "kernels/base/parallel_for.h"

namespace nemo::kernels {
namespace {

constexpr int64_t kGrain = 32768;  // elements per chunk of a memory-bound loop

}  // namespace

template <class To, class From>
void convert_cpu(To* y, const From* x, int64_t count) {
  parallel_for(count, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = static_cast<To>(static_cast<float>(x[i]));
  });
}

template <class T>
void add_cpu(T* y, const T* a, const T* b, int64_t count) {
  parallel_for(count, kGrain, [&](int64_t begin, int64_t end) {
#pragma GCC ivdep  // y is a or b, or apart from them
    for (int64_t i = begin; i < end; ++i) y[i] = static_cast<T>(static_cast<float>(a[i]) + static_cast<float>(b[i]));
  });
}

void copy_columns_cpu(void* to, const void* from, const ColumnsShape& shape) {
  const int64_t bytes = shape.element_bytes;
  parallel_for(shape.rows, 1 + kGrain / (shape.columns + 1), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      std::memcpy(static_cast<char*>(to) + r * shape.to_stride * bytes, static_cast<const char*>(from) + r * shape.from_stride * bytes,
                  shape.columns * bytes);
  });
}

template <class T, class Grad>
void bias_grad_cpu(Grad* dbias, bool accumulate, const T* dy, const BiasShape& shape, float* scratch) {
  const int64_t columns = shape.columns, block_rows = std::max<int64_t>(64, (shape.rows + kBiasRowBlocks - 1) / kBiasRowBlocks);
  const int64_t num_blocks = (shape.rows + block_rows - 1) / block_rows;
  parallel_for(num_blocks, 1 + kGrain / (block_rows * columns + 1), [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      float* sum = scratch + block * columns;
      std::fill(sum, sum + columns, 0.0f);
      for (int64_t r = block * block_rows; r < std::min(shape.rows, (block + 1) * block_rows); ++r)
        for (int64_t c = 0; c < columns; ++c) sum[c] += static_cast<float>(dy[r * shape.stride + c]);
    }
  });
  for (int64_t c = 0; c < columns; ++c) {
    float sum = 0;
    for (int64_t block = 0; block < num_blocks; ++block) sum += scratch[block * columns + c];
    dbias[c] = static_cast<Grad>(accumulate ? static_cast<float>(dbias[c]) + sum : sum);
  }
}

template <class T>
void dropout_cpu(T* y, const T* x, const int64_t* token_ids, RandomKey key, const StepState* state, const DropoutShape& shape) {
  const int64_t columns = shape.columns, quads = (columns + 3) / 4;
  const float rate = shape.rate, scale = 1.0f / (1.0f - rate);
  parallel_for(shape.rows, std::max<int64_t>(1, 4096 / std::max<int64_t>(1, columns)), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t quad = 0; quad < quads; ++quad) {
        const Philox4 draw = philox(key, state->step, token_ids[r] * quads + quad);
        const uint32_t words[4] = {draw.x, draw.y, draw.z, draw.w};
        for (int64_t c = 4 * quad; c < std::min(columns, 4 * quad + 4); ++c) {
          const float value = x[r * columns + c];
          y[r * columns + c] = static_cast<T>(uniform(words[c % 4]) < rate ? 0.0f : value * scale);
        }
      }
    }
  });
}

#define NEMO_INSTANTIATE(T)                                                                                       \
  template void convert_cpu(T*, const float*, int64_t);                                                           \
  template void convert_cpu(T*, const bf16*, int64_t);                                                            \
  template void convert_cpu(T*, const fp16*, int64_t);
NEMO_INSTANTIATE(float)
NEMO_INSTANTIATE(bf16)
NEMO_INSTANTIATE(fp16)
#undef NEMO_INSTANTIATE

#define NEMO_INSTANTIATE(T)                                                                                       \
  template void add_cpu(T*, const T*, const T*, int64_t);                                                         \
  template void bias_grad_cpu(float*, bool, const T*, const BiasShape&, float*);                                  \
  template void bias_grad_cpu(bf16*, bool, const T*, const BiasShape&, float*);                                   \
  template void dropout_cpu(T*, const T*, const int64_t*, RandomKey, const StepState*, const DropoutShape&);
NEMO_INSTANTIATE(float)
NEMO_INSTANTIATE(bf16)
#undef NEMO_INSTANTIATE

}  // namespace nemo::kernels
