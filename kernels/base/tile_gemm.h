// A small matrix product on one thread, for kernels that build on tiles in the cache (attention on the CPU).
// Not here: large products, threads (kernels/gemm).
#pragma once
#include <cstdint>
#include <cstring>

namespace nemo::kernels {

// Eight fp32 lanes as the compiler's own vector type: one AVX register, two of NEON.
using Lanes = float __attribute__((vector_size(32)));
inline constexpr int64_t kLanes = 8;
inline Lanes load_lanes(const float* p) {
  Lanes v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline void store_lanes(float* p, Lanes v) { std::memcpy(p, &v, sizeof v); }

// Element (i, l) of the left operand is a[i * row + l * column]: it is broadcast, so either order is as fast.
struct TileOperand { const float* a; int64_t row, column; };

// `Rows` rows by 16 columns of C stay in registers while k runs.
template <int Rows>
inline void tile_gemm_rows(float* c, int64_t ldc, TileOperand a, const float* b, int64_t ldb, int64_t k, bool accumulate) {
  Lanes sum[Rows][2];
  for (int r = 0; r < Rows; ++r)
    for (int h = 0; h < 2; ++h) sum[r][h] = accumulate ? load_lanes(c + r * ldc + h * kLanes) : Lanes{};
  for (int64_t l = 0; l < k; ++l) {
    const Lanes b0 = load_lanes(b + l * ldb), b1 = load_lanes(b + l * ldb + kLanes);
    const float* column = a.a + l * a.column;
    for (int r = 0; r < Rows; ++r) {
      const float left = column[r * a.row];
      sum[r][0] += left * b0;
      sum[r][1] += left * b1;
    }
  }
  for (int r = 0; r < Rows; ++r)
    for (int h = 0; h < 2; ++h) store_lanes(c + r * ldc + h * kLanes, sum[r][h]);
}

// C[m, n] = A[m, k] B[k, n] (+ C). n is a multiple of 16; rows of B and C are contiguous, at distances ldb and ldc.
inline void tile_gemm(float* c, int64_t ldc, TileOperand a, const float* b, int64_t ldb, int64_t m, int64_t n, int64_t k, bool accumulate) {
  constexpr int kRows = 6;  // 12 sums, 2 of B and 1 of A: what 16 registers hold
  for (int64_t j = 0; j < n; j += 2 * kLanes) {
    int64_t i = 0;
    const auto left = [&] { return TileOperand{a.a + i * a.row, a.row, a.column}; };
    for (; i + kRows <= m; i += kRows) tile_gemm_rows<kRows>(c + i * ldc + j, ldc, left(), b + j, ldb, k, accumulate);
    for (; i + 2 <= m; i += 2) tile_gemm_rows<2>(c + i * ldc + j, ldc, left(), b + j, ldb, k, accumulate);
    for (; i < m; ++i) tile_gemm_rows<1>(c + i * ldc + j, ldc, left(), b + j, ldb, k, accumulate);
  }
}

}  // namespace nemo::kernels
