// Epilogues, and how algorithms are chosen, kept and found again. GPU only: hidden unless asked for with "[cuda]".
#include "kernels/gemm/gemm_plans.h"

#include <array>
#include <functional>

#include "kernels/base/plan_book.h"
#include "tests/kernels/device_array.h"

using namespace nemo;
using namespace nemo::kernels;
using namespace nemo::testing;

namespace {

using Handle = std::unique_ptr<CublasLt, void (*)(CublasLt*)>;
Handle handle_of(bool tune, PlanBook& book) {
  return {cublaslt_create(tune, book), [](CublasLt* handle) { cublaslt_destroy(handle); }};
}

double gelu(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
double gelu_derivative(double x) {
  const double t = std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * std::sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x);
}

// op(A) op(B) in fp64, rows without gaps.
std::vector<double> product_of(const GemmProduct& p, const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> c(static_cast<size_t>(p.m * p.n));
  for (int64_t i = 0; i < p.m; ++i)
    for (int64_t l = 0; l < p.k; ++l) {
      const double left = a[p.transpose_a ? l * p.lda + i : i * p.lda + l];
      for (int64_t j = 0; j < p.n; ++j) c[i * p.n + j] += left * b[p.transpose_b ? j * p.ldb + l : l * p.ldb + j];
    }
  return c;
}

GemmProduct bf16_product(int64_t m, int64_t n, int64_t k, bool transpose_a, bool transpose_b, GemmEpilogue epilogue) {
  return {.m = m,
          .n = n,
          .k = k,
          .transpose_a = transpose_a,
          .transpose_b = transpose_b,
          .lda = transpose_a ? m : k,
          .ldb = transpose_b ? k : n,
          .ldc = n,
          .a = GemmType::bf16,
          .b = GemmType::bf16,
          .c = GemmType::bf16,
          .epilogue = epilogue,
          .vector = GemmType::bf16,
          .ld_aux = n};
}

// Runs it with random operands, the vector of `vector_size` and aux given; returns what c, vector and aux hold after.
struct Results {
  std::vector<bf16> c, vector, aux;
  std::vector<double> product;
};
Results run(const TestDevice& device, const GemmProduct& p, const std::vector<bf16>& vector,
            const std::vector<bf16>& aux) {
  const auto a = random_values<bf16>(p.m * p.k, 1), b = random_values<bf16>(p.n * p.k, 2);
  Array<bf16> a_in(device, a), b_in(device, b), c(device, static_cast<size_t>(p.m * p.n)), vector_array(device, vector),
      aux_array(device, aux);
  Array<uint8_t> workspace(device, kGemmWorkspaceBytes);
  PlanBook book;
  const Handle handle = handle_of(true, book);
  run_product(*handle, p,
              {.c = c.data(),
               .a = a_in.data(),
               .b = b_in.data(),
               .vector = vector_array.data(),
               .aux = aux_array.data(),
               .workspace = workspace.data()},
              device.stream());
  return {c.values(), vector_array.values(), aux_array.values(), product_of(p, to_doubles(a), to_doubles(b))};
}

}  // namespace

TEST_CASE("gemm epilogues forward on CUDA", "[.][cuda]") {
  const TestDevice device = TestDevice::cuda();
  const int64_t m = 144, n = 264, k = 96;
  const auto bias = random_values<bf16>(n, 3);
  const std::vector<bf16> none(static_cast<size_t>(m * n), bf16(NAN));
  for (const bool with_bias : {false, true}) {
    const Results results = run(
        device, bf16_product(m, n, k, false, true, with_bias ? GemmEpilogue::gelu_aux_bias : GemmEpilogue::gelu_aux),
        bias, none);
    std::vector<double> before, after;
    for (int64_t i = 0; i < m * n; ++i) {
      before.push_back(results.product[i] + (with_bias ? static_cast<double>(static_cast<float>(bias[i % n])) : 0));
      after.push_back(gelu(before.back()));
    }
    check_close<bf16>(results.aux, before);
    check_close<bf16>(results.c, after);
  }
  const Results results = run(device, bf16_product(m, n, k, false, true, GemmEpilogue::bias), bias, none);
  std::vector<double> sum = results.product;
  for (int64_t i = 0; i < m * n; ++i) sum[i] += static_cast<double>(static_cast<float>(bias[i % n]));
  check_close<bf16>(results.c, sum);
}

TEST_CASE("gemm epilogues backward on CUDA", "[.][cuda]") {
  const TestDevice device = TestDevice::cuda();
  const int64_t m = 144, n = 264, k = 96;
  const std::vector<bf16> no_vector(static_cast<size_t>(n), bf16(NAN));
  const auto aux = random_values<bf16>(m * n, 5);
  for (const bool with_sums : {false, true}) {
    const Results results =
        run(device, bf16_product(m, n, k, false, false, with_sums ? GemmEpilogue::dgelu_bgrad : GemmEpilogue::dgelu),
            no_vector, aux);
    std::vector<double> expected, sums(static_cast<size_t>(n));
    for (int64_t i = 0; i < m * n; ++i) {
      expected.push_back(results.product[i] * gelu_derivative(static_cast<double>(static_cast<float>(aux[i]))));
      sums[i % n] += expected.back();
    }
    check_close<bf16>(results.c, expected);
    if (with_sums) check_close<bf16>(results.vector, sums);
  }
  // Weight gradients with the bias gradient beside them: op(A) is dy^T, summed over the tokens.
  const GemmProduct p = bf16_product(m, n, k, true, false, GemmEpilogue::bgrad_a);
  const Results results = run(device, p, std::vector<bf16>(static_cast<size_t>(m), bf16(NAN)), aux);
  check_close<bf16>(results.c, results.product);
  const auto a = random_values<bf16>(m * k, 1);
  std::vector<double> sums(static_cast<size_t>(m));
  for (int64_t l = 0; l < k; ++l)
    for (int64_t i = 0; i < m; ++i) sums[i] += static_cast<double>(static_cast<float>(a[l * m + i]));
  check_close<bf16>(results.vector, sums);
}

TEST_CASE("gemm algorithms picked by timing are right, kept, and found again on CUDA", "[.][cuda]") {
  const TestDevice device = TestDevice::cuda();
  GemmProduct p = bf16_product(256, 520, 328, true, false, GemmEpilogue::none);
  p.c = GemmType::fp32;
  const auto a = random_values<bf16>(p.m * p.k, 1), b = random_values<bf16>(p.n * p.k, 2);
  const auto before = random_values<float>(p.m * p.n, 4);
  std::vector<double> expected = product_of(p, to_doubles(a), to_doubles(b));
  const bool add = GENERATE(false, true);
  p.add_to_c = add;
  if (add)
    for (size_t i = 0; i < expected.size(); ++i) expected[i] += static_cast<double>(before[i]);

  Array<bf16> a_in(device, a), b_in(device, b);
  Array<uint8_t> workspace(device, kGemmWorkspaceBytes);
  const auto product = [&](CublasLt& handle) {
    Array<float> c(device, before);
    run_product(handle, p, {.c = c.data(), .a = a_in.data(), .b = b_in.data(), .workspace = workspace.data()},
                device.stream());
    return c.values();
  };
  PlanBook book;
  const Handle tuned = handle_of(true, book);
  const std::vector<float> first = product(*tuned);  // trials must leave C with one product added
  check_close<float>(first, expected);
  CHECK(same_bits(first, product(*tuned)));
  REQUIRE(book.opened().at("cuBLASLt").plans.size() == 1);
  CHECK(book.take_changed());

  PlanBook read;
  read.add("test", book.opened());
  CHECK(same_bits(first, product(*handle_of(true, read))));
  CHECK_FALSE(read.take_changed());  // nothing was chosen again
  CHECK(read.take_notices().empty());

  PlanBook damaged;
  PlanBook::Libraries libraries = book.opened();
  for (auto& [name, kept] : libraries.at("cuBLASLt").plans) kept = "zz";
  damaged.add("test", libraries);
  check_close<float>(product(*handle_of(false, damaged)), expected);
  CHECK(damaged.take_changed());
}

TEST_CASE("gemm products the library is known not to have are left to the caller on CUDA", "[.][cuda]") {
  const TestDevice device = TestDevice::cuda();
  const GemmProduct p = bf16_product(64, 64, 64, true, false, GemmEpilogue::bgrad_a);
  const auto a = random_values<bf16>(p.m * p.k, 1), b = random_values<bf16>(p.n * p.k, 2);
  const std::vector<bf16> before(static_cast<size_t>(p.m * p.n), bf16(7.0f));
  Array<bf16> a_in(device, a), b_in(device, b), c(device, before), sums(device, static_cast<size_t>(p.m));
  Array<uint8_t> workspace(device, kGemmWorkspaceBytes);
  const GemmOperands operands{.c = c.data(),
                              .a = a_in.data(),
                              .b = b_in.data(),
                              .vector = sums.data(),
                              .workspace = workspace.data()};
  PlanBook book;
  REQUIRE(try_product(*handle_of(false, book), p, operands, device.stream()));
  CHECK(book.take_notices().empty());
  PlanBook::Libraries libraries = book.opened();
  for (auto& [name, kept] : libraries.at("cuBLASLt").plans) kept = "none";
  PlanBook read;
  read.add("test", libraries);
  Array<bf16> untouched(device, before);
  GemmOperands again = operands;
  again.c = untouched.data();
  const Handle handle = handle_of(false, read);
  CHECK_FALSE(try_product(*handle, p, again, device.stream()));
  CHECK(same_bits(untouched.values(), before));
  CHECK_FALSE(read.take_changed());
}
