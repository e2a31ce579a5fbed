#include "kernels/gemm/gemm.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "kernels/base/parallel_for.h"

namespace nemo::kernels {
namespace {

// How C is cut into blocks. oneDNN's own threads may split the sum over k, and then the bits depend on their number; so
// each block of C is one call on one thread, and the cut depends on the shape alone. Powers of two share out evenly.
struct Cut {
  int64_t rows, columns;  // of one block
  int64_t across;         // blocks side by side

  explicit Cut(const GemmShape& s) {
    // oneDNN 2.6 takes a path without packing where 1/m + 1/n > 0.0038, at half the speed for distant rows: stay above it.
    constexpr int64_t kRows = 1024, kColumns = 1024;
    constexpr int64_t kFewest = 4;                   // unless blocks would fall below kSmallest multiplications, about 20 us
    constexpr int64_t kSmallest = int64_t{1} << 20;
    int64_t down = power_of_two((s.m + kRows - 1) / kRows);
    across = power_of_two((s.n + kColumns - 1) / kColumns);
    while (down * across < kFewest && s.m * s.n * s.k >= 2 * kSmallest * down * across) (s.m / down >= s.n / across ? down : across) *= 2;
    rows = part(s.m, down);
    columns = part(s.n, across);
    across = (s.n + columns - 1) / columns;
  }
  static int64_t power_of_two(int64_t count) {
    int64_t power = 1;
    while (power < count) power *= 2;
    return power;
  }
  static int64_t part(int64_t whole, int64_t parts) { return ((whole + parts - 1) / parts + 15) / 16 * 16; }
};

dnnl_status_t sgemm(float* c, int64_t ldc, const float* a, const float* b, int64_t m, int64_t n, float beta, const GemmShape& shape) {
  omp_set_num_threads(1);  // for oneDNN; ends with the parallel region this is called from
  return dnnl_sgemm(shape.transpose_a ? 'T' : 'N', shape.transpose_b ? 'T' : 'N', m, n, shape.k, 1.0f, a, shape.lda, b, shape.ldb,
                    beta, c, ldc);
}

// The whole product on fp32 operands, which have the shape's leading dimensions.
template <class In, class Out>
void gemm_blocks(Out* c, const float* a, const float* b, const In* bias, const GemmShape& s) {
  const Cut cut(s);
  const int64_t blocks = (s.m + cut.rows - 1) / cut.rows * cut.across;
  std::atomic<dnnl_status_t> failure = dnnl_success;  // thrown behind the threads: an exception may not leave them
  parallel_for(blocks, 1, [&](int64_t block, int64_t) {
    const int64_t row = block / cut.across * cut.rows, column = block % cut.across * cut.columns;
    const int64_t m = std::min(cut.rows, s.m - row), n = std::min(cut.columns, s.n - column);
    const float* a_rows = a + (s.transpose_a ? row : row * s.lda);
    const float* b_columns = b + (s.transpose_b ? column * s.ldb : column);
    Out* out = c + row * s.ldc + column;
    if constexpr (std::is_same_v<Out, float>) {
      if (const dnnl_status_t status = sgemm(out, s.ldc, a_rows, b_columns, m, n, s.beta, s); status != dnnl_success) failure = status;
      if (bias == nullptr) return;
      for (int64_t r = 0; r < m; ++r)
        for (int64_t j = 0; j < n; ++j) out[r * s.ldc + j] += static_cast<float>(bias[column + j]);
    } else {
      const auto wide = std::make_unique_for_overwrite<float[]>(m * n);
      if (const dnnl_status_t status = sgemm(wide.get(), n, a_rows, b_columns, m, n, 0.0f, s); status != dnnl_success) failure = status;
      for (int64_t r = 0; r < m; ++r) {
        for (int64_t j = 0; j < n; ++j) {
          float value = wide[r * n + j];
          if (bias != nullptr) value += static_cast<float>(bias[column + j]);
          if (s.beta != 0) value += static_cast<float>(out[r * s.ldc + j]);
          out[r * s.ldc + j] = static_cast<Out>(value);
        }
      }
    }
  });
  if (failure != dnnl_success) throw std::runtime_error("dnnl_sgemm: status " + std::to_string(static_cast<int>(failure.load())));
}

// A bf16 matrix of `rows` x `columns` as a gapless fp32 copy.
std::unique_ptr<float[]> widened(const bf16* x, int64_t rows, int64_t columns, int64_t stride) {
  auto y = std::make_unique_for_overwrite<float[]>(rows * columns);
  parallel_for(rows, 1 + 32768 / (columns + 1), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      for (int64_t c = 0; c < columns; ++c) y[r * columns + c] = x[r * stride + c];
  });
  return y;
}

}  // namespace

template <class In, class Out>
void gemm_cpu(Out* c, const In* a, const In* b, const In* bias, const GemmShape& shape) {
  if (shape.m == 0 || shape.n == 0) return;
  if constexpr (std::is_same_v<In, float>) {
    gemm_blocks(c, a, b, bias, shape);
  } else {
    GemmShape wide = shape;
    wide.lda = shape.transpose_a ? shape.m : shape.k;
    wide.ldb = shape.transpose_b ? shape.k : shape.n;
    const auto wide_a = widened(a, shape.transpose_a ? shape.k : shape.m, wide.lda, shape.lda);
    const auto wide_b = widened(b, shape.transpose_b ? shape.n : shape.k, wide.ldb, shape.ldb);
    gemm_blocks(c, wide_a.get(), wide_b.get(), bias, wide);
  }
}

template void gemm_cpu(float*, const float*, const float*, const float*, const GemmShape&);
template void gemm_cpu(float*, const bf16*, const bf16*, const bf16*, const GemmShape&);
template void gemm_cpu(bf16*, const bf16*, const bf16*, const bf16*, const GemmShape&);
template void gemm_cpu(bf16*, const float*, const float*, const float*, const GemmShape&);

}  // namespace nemo::kernels
