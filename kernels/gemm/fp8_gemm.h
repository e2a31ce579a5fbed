// Matrix product of two matrices of 8-bit floats, each under one scale: C = sa sb A B^T + beta C (+ bias), row-major.
// CPU: widened to fp32, which is exact.  CUDA: cuBLASLt, from sm_89.  Not here: quantising (kernels/quantise).
#pragma once
#include <cstdint>

#include "kernels/base/fp8.h"
#include "kernels/gemm/gemm.h"

namespace nemo::kernels {

// A [m, k], B [n, k], gapless; ldc elements between the rows of C [m, n]; beta is 0 or 1. On CUDA m, n, k are multiples
// of
// 16. fast_accumulation: the GPU may keep sums in the tensor core's own registers, which hold fewer bits than fp32.
struct Fp8GemmShape {
  int64_t m, n, k, ldc;
  float beta = 0;
  bool fast_accumulation = false;
};

// An operand: payload, and its scale [1] fp32 beside it.
template <class Float>
struct Fp8Operand {
  const Float* payload;
  const float* scale;
};

// A is fp8_e4m3 with Out bf16, or fp8_e5m2 with Out bf16 or float; bias [n] bf16 or null, with Out bf16 only.
template <class A, class Out>
void fp8_gemm_cpu(Out* c, Fp8Operand<A> a, Fp8Operand<fp8_e4m3> b, const bf16* bias, const Fp8GemmShape& shape);
template <class A, class Out>
NEMO_CUDA_KERNEL void fp8_gemm_cuda(CublasLt& handle, Out* c, Fp8Operand<A> a, Fp8Operand<fp8_e4m3> b, const bf16* bias,
                                    const Fp8GemmShape& shape, void* workspace, cudaStream_t stream);

}  // namespace nemo::kernels
