#include "kernels/gemm/fp8_gemm.h"

#include <array>

#include "kernels/base/plan_book.h"
#include "tests/kernels/device_array.h"
#include "tests/kernels/threads.h"

using namespace nemo;
using namespace nemo::kernels;
using namespace nemo::testing;

namespace {

template <class Float>
std::vector<Float> random_codes(int64_t count, unsigned seed) {
  std::vector<Float> codes;
  for (const float value : random_values<float>(static_cast<size_t>(count), seed, 60)) codes.push_back(Float(value));
  return codes;
}

template <class A, class Out>
void launch(const TestDevice& device, Out* c, Fp8Operand<A> a, Fp8Operand<fp8_e4m3> b, const bf16* bias,
            const Fp8GemmShape& shape) {
  if (!device.is_cuda()) return fp8_gemm_cpu(c, a, b, bias, shape);
  PlanBook book;
  const std::unique_ptr<CublasLt, void (*)(CublasLt*)> handle(cublaslt_create(false, book),
                                                              [](CublasLt* h) { cublaslt_destroy(h); });
  Array<uint8_t> workspace(device, kGemmWorkspaceBytes);
  fp8_gemm_cuda(*handle, c, a, b, bias, shape, workspace.data(), device.stream());
  cuda_stream_synchronize(device.stream());
}

template <class A, class Out>
void check(const TestDevice& device, int64_t m, int64_t n, int64_t k, float beta, bool with_bias, int64_t padding,
           bool fast) {
  CAPTURE(m, n, k, beta, with_bias, padding, fast, name(dtype_of<A>), name(dtype_of<Out>));
  const Fp8GemmShape shape{.m = m, .n = n, .k = k, .ldc = n + padding, .beta = beta, .fast_accumulation = fast};
  const auto a = random_codes<A>(m * k, 1);
  const auto b = random_codes<fp8_e4m3>(n * k, 2);
  const float a_scale = 0x1p-5f, b_scale = 0x1p-9f;
  const auto bias = random_values<bf16>(static_cast<size_t>(n), 3);
  const auto before = random_values<Out>(static_cast<size_t>(m * shape.ldc), 4);
  const auto ad = to_doubles(a), bd = to_doubles(b);
  std::vector<double> expected;
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t l = 0; l < k; ++l) sum += ad[i * k + l] * bd[j * k + l];
      sum *= static_cast<double>(a_scale) * b_scale;
      if (with_bias) sum += static_cast<double>(static_cast<float>(bias[j]));
      if (beta != 0) sum += static_cast<double>(static_cast<float>(before[i * shape.ldc + j]));
      expected.push_back(sum);
    }
  Array<A> a_in(device, a);
  Array<fp8_e4m3> b_in(device, b);
  Array<float> a_scale_in(device, std::vector<float>{a_scale}), b_scale_in(device, std::vector<float>{b_scale});
  Array<bf16> bias_in(device, bias);
  const auto run = [&] {
    Array<Out> c = beta != 0 || padding > 0 ? Array<Out>(device, before) : Array<Out>(device, before.size());
    launch<A, Out>(device, c.data(), {a_in.data(), a_scale_in.data()}, {b_in.data(), b_scale_in.data()},
                   with_bias ? bias_in.data() : nullptr, shape);
    return c.values();
  };
  const std::vector<Out> c = run();
  std::vector<Out> ours;
  bool padding_kept = true;
  for (int64_t i = 0; i < m * shape.ldc; ++i) {
    if (i % shape.ldc < n)
      ours.push_back(c[i]);
    else
      padding_kept = padding_kept && std::memcmp(&c[i], &before[i], sizeof(Out)) == 0;
  }
  // The GPU's tensor cores sum products of 8-bit floats with fewer bits than fp32 has, fast accumulation or not.
  if (device.is_cuda())
    check_close<bf16>(ours, expected);
  else
    check_close<Out>(ours, expected);
  CHECK(padding_kept);
  if (!device.is_cuda()) check_same_bits_for_any_thread_count(run);
}

void products(const TestDevice& device) {
  for (const auto& [m, n, k] :
       {std::array<int64_t, 3>{16, 16, 16}, {16, 48, 32}, {64, 80, 128}, {144, 16, 272}, {272, 400, 144}})
    for (const int64_t padding : {0, 16}) {
      for (const bool with_bias : {false, true}) check<fp8_e4m3, bf16>(device, m, n, k, 0, with_bias, padding, true);
      check<fp8_e5m2, bf16>(device, m, n, k, 0, false, padding, false);
      for (const float beta : {0.0f, 1.0f}) {
        check<fp8_e5m2, float>(device, m, n, k, beta, false, padding, false);
        check<fp8_e5m2, bf16>(device, m, n, k, beta, false, padding, false);
      }
    }
}

void not_finite(const TestDevice& device) {
  Array<fp8_e4m3> ones(device, std::vector<fp8_e4m3>(16 * 16, fp8_e4m3(1.0f)));
  Array<float> bad(device, std::vector<float>{NAN}), good(device, std::vector<float>{1});
  Array<bf16> c(device, 16 * 16);
  launch<fp8_e4m3, bf16>(device, c.data(), {ones.data(), good.data()}, {ones.data(), bad.data()}, nullptr,
                         {.m = 16, .n = 16, .k = 16, .ldc = 16});
  const auto values = c.values();
  CHECK(std::all_of(values.begin(), values.end(), [](bf16 value) { return std::isnan(static_cast<float>(value)); }));
}

}  // namespace

NEMO_KERNEL_TEST("fp8 products in every pair of formats, with bias or accumulation", "[gemm][fp8]", products)
NEMO_KERNEL_TEST("an fp8 product under a scale that is NaN is NaN", "[gemm][fp8]", not_finite)
