#include "kernels/gemm/gemm.h"

#include <oneapi/dnnl/dnnl.h>

#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/base/parallel_for.h"

namespace nemo::kernels {
namespace {

// oneDNN's sgemm is row-major like ours.
void sgemm(float* c, int64_t ldc, const float* a, int64_t lda, const float* b, int64_t ldb, const GemmShape& shape, float beta) {
  const dnnl_status_t status = dnnl_sgemm(shape.transpose_a ? 'T' : 'N', shape.transpose_b ? 'T' : 'N', shape.m, shape.n, shape.k, 1.0f,
                                          a, lda, b, ldb, beta, c, ldc);
  if (status != dnnl_success) throw std::runtime_error("dnnl_sgemm: status " + std::to_string(static_cast<int>(status)));
}

// A bf16 matrix of `rows` x `columns` as a gapless fp32 copy.
std::vector<float> widened(const bf16* x, int64_t rows, int64_t columns, int64_t stride) {
  std::vector<float> y(rows * columns);
  parallel_for(rows, 1 + 32768 / (columns + 1), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      for (int64_t c = 0; c < columns; ++c) y[r * columns + c] = x[r * stride + c];
  });
  return y;
}

}  // namespace

template <class In, class Out>
void gemm_cpu(Out* c, const In* a, const In* b, const In* bias, const GemmShape& shape) {
  const int64_t m = shape.m, n = shape.n;
  if (m == 0 || n == 0) return;
  std::vector<float> wide_a, wide_b, wide_c;
  const float *fa, *fb;
  float* fc;
  int64_t lda = shape.lda, ldb = shape.ldb, ldc = shape.ldc;
  if constexpr (std::is_same_v<In, float>) {
    fa = a, fb = b;
  } else {
    const int64_t a_columns = shape.transpose_a ? m : shape.k, b_columns = shape.transpose_b ? shape.k : n;
    wide_a = widened(a, shape.transpose_a ? shape.k : m, a_columns, lda);
    wide_b = widened(b, shape.transpose_b ? n : shape.k, b_columns, ldb);
    fa = wide_a.data(), fb = wide_b.data();
    lda = a_columns, ldb = b_columns;
  }
  float beta = shape.beta;
  if constexpr (std::is_same_v<Out, float>) {
    fc = c;
  } else {
    wide_c.resize(m * n);
    fc = wide_c.data();
    ldc = n;
    beta = 0;
  }
  sgemm(fc, ldc, fa, lda, fb, ldb, shape, beta);
  if constexpr (std::is_same_v<Out, float>) {
    if (bias == nullptr) return;
  }
  parallel_for(m, 1 + 32768 / n, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t j = 0; j < n; ++j) {
        float value = fc[r * ldc + j];
        if (bias != nullptr) value += static_cast<float>(bias[j]);
        if (!std::is_same_v<Out, float> && shape.beta != 0) value += static_cast<float>(c[r * shape.ldc + j]);
        c[r * shape.ldc + j] = static_cast<Out>(value);
      }
    }
  });
}

template void gemm_cpu(float*, const float*, const float*, const float*, const GemmShape&);
template void gemm_cpu(float*, const bf16*, const bf16*, const bf16*, const GemmShape&);
template void gemm_cpu(bf16*, const bf16*, const bf16*, const bf16*, const GemmShape&);
template void gemm_cpu(bf16*, const float*, const float*, const float*, const GemmShape&);

}  // namespace nemo::kernels
