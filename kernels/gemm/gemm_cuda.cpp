#include "kernels/gemm/gemm.h"

#include "kernels/base/cuda_check.h"
#include "kernels/gemm/gemm_epilogue.h"
#include "kernels/gemm/gemm_plans.h"

namespace nemo::kernels {
namespace {

template <class T>
constexpr GemmType gemm_type() {
  return dtype_of<T> == DType::bf16 ? GemmType::bf16 : GemmType::fp32;
}

}  // namespace

template <class In, class Out>
void gemm_cuda(CublasLt& handle, Out* c, const In* a, const In* b, const In* bias, const GemmShape& shape,
               void* workspace, cudaStream_t stream) {
  if constexpr (dtype_of<In> == DType::fp32 && dtype_of<Out> == DType::bf16) {
    throw CudaError("gemm", "cuBLASLt has no product of fp32 operands with a bf16 result; give it an fp32 one");
  }
  if (shape.m == 0 || shape.n == 0) return;
  // The library adds a bias of the output's type only; with another output it is added after the product.
  const bool fused_bias = bias && dtype_of<In> == dtype_of<Out>;
  if (shape.k == 0) {  // an empty sum
    if (shape.beta == 0) {
      cuda_check(cudaMemset2DAsync(c, static_cast<size_t>(shape.ldc) * sizeof(Out), 0,
                                   static_cast<size_t>(shape.n) * sizeof(Out), static_cast<size_t>(shape.m), stream),
                 "cudaMemset2DAsync");
    }
  } else {
    const GemmProduct product{.m = shape.m,
                              .n = shape.n,
                              .k = shape.k,
                              .transpose_a = shape.transpose_a,
                              .transpose_b = shape.transpose_b,
                              .add_to_c = shape.beta != 0,
                              .lda = shape.lda,
                              .ldb = shape.ldb,
                              .ldc = shape.ldc,
                              .a = gemm_type<In>(),
                              .b = gemm_type<In>(),
                              .c = gemm_type<Out>(),
                              .epilogue = fused_bias ? GemmEpilogue::bias : GemmEpilogue::none,
                              .vector = gemm_type<In>()};
    run_product(
        handle, product,
        {.c = c, .a = a, .b = b, .vector = fused_bias ? const_cast<In*>(bias) : nullptr, .workspace = workspace},
        stream);
  }
  if (bias && (!fused_bias || shape.k == 0)) add_row_vector(c, bias, {shape.m, shape.n, shape.ldc}, stream);
}

template void gemm_cuda(CublasLt&, float*, const float*, const float*, const float*, const GemmShape&, void*,
                        cudaStream_t);
template void gemm_cuda(CublasLt&, bf16*, const float*, const float*, const float*, const GemmShape&, void*,
                        cudaStream_t);
template void gemm_cuda(CublasLt&, float*, const bf16*, const bf16*, const bf16*, const GemmShape&, void*,
                        cudaStream_t);
template void gemm_cuda(CublasLt&, bf16*, const bf16*, const bf16*, const bf16*, const GemmShape&, void*, cudaStream_t);

}  // namespace nemo::kernels
