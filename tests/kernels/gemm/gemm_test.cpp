#include "kernels/gemm/gemm.h"

#include <array>

#include "kernels/base/plan_book.h"
#include "tests/kernels/device_array.h"
#include "tests/kernels/threads.h"

using namespace nemo;
using namespace nemo::kernels;
using namespace nemo::testing;

namespace {

template <class In, class Out>
void launch(const TestDevice& device, Out* c, const In* a, const In* b, const In* bias, const GemmShape& shape) {
  if (!device.is_cuda()) return gemm_cpu(c, a, b, bias, shape);
  PlanBook book;
  const std::unique_ptr<CublasLt, void (*)(CublasLt*)> handle(cublaslt_create(false, book), [](CublasLt* h) { cublaslt_destroy(h); });
  Array<uint8_t> workspace(device, kGemmWorkspaceBytes);
  gemm_cuda(*handle, c, a, b, bias, shape, workspace.data(), device.stream());
  cuda_stream_synchronize(device.stream());
}

// Rows of all three matrices followed by `padding` elements.
GemmShape shape_of(int64_t m, int64_t n, int64_t k, bool transpose_a, bool transpose_b, float beta, int64_t padding) {
  return {m, n, k, transpose_a, transpose_b, (transpose_a ? m : k) + padding, (transpose_b ? k : n) + padding, n + padding, beta};
}

template <class In, class Out>
void check(const TestDevice& device, const GemmShape& shape, bool with_bias, int64_t padding) {
  const int64_t m = shape.m, n = shape.n, k = shape.k;
  CAPTURE(m, n, k, shape.transpose_a, shape.transpose_b, shape.beta, with_bias, padding, name(dtype_of<In>), name(dtype_of<Out>));
  const auto a = random_values<In>((shape.transpose_a ? k : m) * shape.lda, 1), b = random_values<In>((shape.transpose_b ? n : k) * shape.ldb, 2);
  const auto bias = random_values<In>(n, 3);
  const auto before = random_values<Out>(m * shape.ldc, 4);
  const auto ad = to_doubles(a), bd = to_doubles(b);
  std::vector<double> expected;
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double sum = with_bias ? static_cast<double>(static_cast<float>(bias[j])) : 0.0;
      if (shape.beta != 0) sum += static_cast<double>(static_cast<float>(before[i * shape.ldc + j]));
      for (int64_t l = 0; l < k; ++l)
        sum += ad[shape.transpose_a ? l * shape.lda + i : i * shape.lda + l] * bd[shape.transpose_b ? j * shape.ldb + l : l * shape.ldb + j];
      expected.push_back(sum);
    }
  Array<In> a_in(device, a), b_in(device, b), bias_in(device, bias);
  const auto run = [&] {
    Array<Out> c = shape.beta != 0 || padding > 0 ? Array<Out>(device, before) : Array<Out>(device, before.size());
    launch<In, Out>(device, c.data(), a_in.data(), b_in.data(), with_bias ? bias_in.data() : nullptr, shape);
    return c.values();
  };
  const std::vector<Out> c = run();
  std::vector<Out> ours;
  bool padding_kept = true;
  for (int64_t i = 0; i < m * shape.ldc; ++i) {
    if (i % shape.ldc < n) ours.push_back(c[i]);
    else padding_kept = padding_kept && std::memcmp(&c[i], &before[i], sizeof(Out)) == 0;
  }
  check_close<Out>(ours, expected);
  CHECK(padding_kept);
  if (!device.is_cuda()) check_same_bits_for_any_thread_count(run);
}

void products(const TestDevice& device) {
  for (const bool transpose_a : {false, true})
    for (const bool transpose_b : {false, true})
      for (const float beta : {0.0f, 1.0f})
        for (const auto& [m, n, k] : {std::array<int64_t, 3>{1, 1, 1}, {1, 100, 33}, {37, 1, 50}, {65, 24, 3}, {64, 72, 128}, {97, 136, 264}}) {
          const bool with_bias = beta == 0;
          check<float, float>(device, shape_of(m, n, k, transpose_a, transpose_b, beta, 0), with_bias, 0);
          check<bf16, float>(device, shape_of(m, n, k, transpose_a, transpose_b, beta, 8), false, 8);
          check<bf16, bf16>(device, shape_of(m, n, k, transpose_a, transpose_b, beta, 8), with_bias, 8);
        }
}

// Sizes at which a library may split the sum over k, or the work over threads.
void large(const TestDevice& device) {
  for (const bool transpose_a : {false, true}) {
    check<float, float>(device, shape_of(260, 520, 700, transpose_a, false, 1, 0), false, 0);
    check<float, float>(device, shape_of(128, 128, 6000, transpose_a, false, 1, 0), false, 0);
    check<float, float>(device, shape_of(1, 3000, 800, transpose_a, true, 0, 0), true, 0);
  }
}

}  // namespace

NEMO_KERNEL_TEST("gemm in every transposition, with bias or accumulation", "[gemm]", products)
NEMO_KERNEL_TEST("gemm on long sums and wide outputs", "[gemm]", large)
