// Products of bf16 matrices with what surrounds them in a feed-forward block done before the result is stored. CUDA
// only: elsewhere the op runs the parts (core/ops). Not here: the products themselves (gemm.h), their algorithms
// (gemm_plans.h).
#pragma once
#include "kernels/base/cuda_stream.h"
#include "kernels/base/dtype.h"
#include "kernels/gemm/gemm.h"

namespace nemo::kernels {

// Each returns false, having done nothing, where the library has no such product; asked once (try_product). Shapes as
// in gemm.h with beta 0; sums and what follows in fp32; gelu is the tanh form.

// pre [m, n] = op(A) op(B) + bias [n], y [m, n] = gelu(pre before it was rounded). y has rows ldc apart, pre none
// between.
NEMO_CUDA_KERNEL bool gemm_bias_gelu_cuda(CublasLt& handle, bf16* y, bf16* pre, const bf16* a, const bf16* b,
                                          const bf16* bias, const GemmShape& shape, void* workspace,
                                          cudaStream_t stream);

// c [m, n] = op(A) op(B) * gelu'(pre), pre [m, n] gapless.
NEMO_CUDA_KERNEL bool gemm_gelu_gradient_cuda(CublasLt& handle, bf16* c, const bf16* pre, const bf16* a, const bf16* b,
                                              const GemmShape& shape, void* workspace, cudaStream_t stream);

}  // namespace nemo::kernels
