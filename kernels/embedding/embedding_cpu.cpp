#include "kernels/embedding/embedding.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/base/parallel_for.h"

namespace nemo::kernels {

template <class T>
void embedding_forward_cpu(T* y, bool accumulate, const int32_t* ids, const T* table, const EmbeddingShape& shape) {
  const int64_t hidden = shape.hidden;
  parallel_for(shape.tokens, std::max<int64_t>(1, 16384 / hidden), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t row = ids[t] - shape.first_row;
      T* out = y + t * hidden;
      if (row < 0 || row >= shape.rows) {
        if (!accumulate) std::fill(out, out + hidden, T(0.0f));
      } else if (const T* from = table + row * hidden; accumulate) {
        for (int64_t h = 0; h < hidden; ++h) out[h] = static_cast<T>(static_cast<float>(out[h]) + static_cast<float>(from[h]));
      } else {
        std::copy(from, from + hidden, out);
      }
    }
  });
}

template <class T, class Grad>
void embedding_backward_cpu(Grad* dtable, bool accumulate, const T* dy, const int32_t* ids, const EmbeddingShape& shape) {
  const int64_t hidden = shape.hidden;
  if (!accumulate)
    parallel_for(shape.rows * hidden, 1 << 16, [&](int64_t begin, int64_t end) { std::fill(dtable + begin, dtable + end, Grad(0.0f)); });
  // Tokens grouped by row, in token order within a row.
  std::vector<int32_t> order(shape.tokens);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return ids[a] < ids[b]; });
  // Threads share the columns, not the rows: however uneven the rows are, no two threads meet.
  constexpr int64_t kColumns = 128;
  const int64_t grain = std::max<int64_t>(kColumns, 32768 / std::max<int64_t>(1, shape.tokens) / kColumns * kColumns);
  parallel_for(hidden, grain, [&](int64_t begin, int64_t end) {
    float total[kColumns];
    for (int64_t column = begin; column < end; column += kColumns) {
      const int64_t width = std::min(kColumns, end - column);
      for (int64_t i = 0; i < shape.tokens;) {
        const int32_t id = ids[order[i]];
        const int64_t row = id - shape.first_row;
        std::fill(total, total + width, 0.0f);
        for (; i < shape.tokens && ids[order[i]] == id; ++i) {
          const T* from = dy + order[i] * hidden + column;
          for (int64_t h = 0; h < width; ++h) total[h] += static_cast<float>(from[h]);
        }
        if (row < 0 || row >= shape.rows) continue;
        Grad* out = dtable + row * hidden + column;
        for (int64_t h = 0; h < width; ++h) out[h] = static_cast<Grad>(static_cast<float>(out[h]) + total[h]);
      }
    }
  });
}

#define NEMO_INSTANTIATE(T)                                                                                   \
  template void embedding_forward_cpu(T*, bool, const int32_t*, const T*, const EmbeddingShape&);             \
  template void embedding_backward_cpu(float*, bool, const T*, const int32_t*, const EmbeddingShape&);        \
  template void embedding_backward_cpu(bf16*, bool, const T*, const int32_t*, const EmbeddingShape&);
NEMO_INSTANTIATE(float)
NEMO_INSTANTIATE(bf16)
#undef NEMO_INSTANTIATE

}  // namespace nemo::kernels
