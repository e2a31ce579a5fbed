#include "kernels/gemm/fp8_gemm.h"

#include <array>
#include <memory>

#include "kernels/base/parallel_for.h"

namespace nemo::kernels {
namespace {

// payload * scale in fp32: exact, the scale is a power of two.
template <class Float>
std::unique_ptr<float[]> widened(Fp8Operand<Float> x, int64_t count) {
  std::array<float, 256> values;
  for (int code = 0; code < 256; ++code) {
    Float narrow;
    narrow.bits = static_cast<uint8_t>(code);
    values[static_cast<size_t>(code)] = static_cast<float>(narrow) * *x.scale;
  }
  auto wide = std::make_unique_for_overwrite<float[]>(static_cast<size_t>(count));
  parallel_for(count, 32768, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) wide[i] = values[x.payload[i].bits];
  });
  return wide;
}

}  // namespace

template <class A, class Out>
void fp8_gemm_cpu(Out* c, Fp8Operand<A> a, Fp8Operand<fp8_e4m3> b, const bf16* bias, const Fp8GemmShape& s) {
  const auto wide_a = widened(a, s.m * s.k), wide_b = widened(b, s.n * s.k);
  std::unique_ptr<float[]> wide_bias;
  if (bias != nullptr) {
    wide_bias = std::make_unique_for_overwrite<float[]>(static_cast<size_t>(s.n));
    for (int64_t j = 0; j < s.n; ++j) wide_bias[j] = bias[j];
  }
  gemm_cpu(c, wide_a.get(), wide_b.get(), wide_bias.get(),
           {.m = s.m, .n = s.n, .k = s.k, .transpose_b = true, .lda = s.k, .ldb = s.k, .ldc = s.ldc, .beta = s.beta});
}

template void fp8_gemm_cpu(bf16*, Fp8Operand<fp8_e4m3>, Fp8Operand<fp8_e4m3>, const bf16*, const Fp8GemmShape&);
template void fp8_gemm_cpu(bf16*, Fp8Operand<fp8_e5m2>, Fp8Operand<fp8_e4m3>, const bf16*, const Fp8GemmShape&);
template void fp8_gemm_cpu(float*, Fp8Operand<fp8_e5m2>, Fp8Operand<fp8_e4m3>, const bf16*, const Fp8GemmShape&);

}  // namespace nemo::kernels
