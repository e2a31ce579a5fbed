#include <string>

#include "kernels/base/error.h"
#include "kernels/gemm/fp8_gemm.h"
#include "kernels/gemm/gemm_plans.h"

namespace nemo::kernels {
namespace {

constexpr GemmType gemm_type(DType dtype) {
  switch (dtype) {
    case DType::fp8_e4m3:
      return GemmType::e4m3;
    case DType::fp8_e5m2:
      return GemmType::e5m2;
    case DType::bf16:
      return GemmType::bf16;
    default:
      return GemmType::fp32;
  }
}

}  // namespace

template <class A, class Out>
void fp8_gemm_cuda(CublasLt& handle, Out* c, Fp8Operand<A> a, Fp8Operand<fp8_e4m3> b, const bf16* bias,
                   const Fp8GemmShape& s, void* workspace, cudaStream_t stream) {
  if (s.m == 0 || s.n == 0) return;
  if (s.m % 16 != 0 || s.n % 16 != 0 || s.k % 16 != 0 || s.k == 0)
    throw CudaError("fp8_gemm", "m n k " + std::to_string(s.m) + " " + std::to_string(s.n) + " " + std::to_string(s.k) +
                                    " are not all multiples of 16");
  const GemmProduct product{.m = s.m,
                            .n = s.n,
                            .k = s.k,
                            .transpose_b = true,
                            .add_to_c = s.beta != 0,
                            .lda = s.k,
                            .ldb = s.k,
                            .ldc = s.ldc,
                            .a = gemm_type(dtype_of<A>),
                            .b = GemmType::e4m3,
                            .c = gemm_type(dtype_of<Out>),
                            .epilogue = bias != nullptr ? GemmEpilogue::bias : GemmEpilogue::none,
                            .vector = GemmType::bf16,
                            .fast_accumulation = s.fast_accumulation,
                            .scaled = true};
  run_product(handle, product,
              {.c = c,
               .a = a.payload,
               .b = b.payload,
               .vector = const_cast<bf16*>(bias),
               .scale_a = a.scale,
               .scale_b = b.scale,
               .workspace = workspace},
              stream);
}

template void fp8_gemm_cuda(CublasLt&, bf16*, Fp8Operand<fp8_e4m3>, Fp8Operand<fp8_e4m3>, const bf16*,
                            const Fp8GemmShape&, void*, cudaStream_t);
template void fp8_gemm_cuda(CublasLt&, bf16*, Fp8Operand<fp8_e5m2>, Fp8Operand<fp8_e4m3>, const bf16*,
                            const Fp8GemmShape&, void*, cudaStream_t);
template void fp8_gemm_cuda(CublasLt&, float*, Fp8Operand<fp8_e5m2>, Fp8Operand<fp8_e4m3>, const bf16*,
                            const Fp8GemmShape&, void*, cudaStream_t);

}  // namespace nemo::kernels
