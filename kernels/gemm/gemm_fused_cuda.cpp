#include "kernels/gemm/gemm_fused.h"

#include "kernels/gemm/gemm_plans.h"

namespace nemo::kernels {
namespace {

GemmProduct bf16_product(const GemmShape& shape, GemmEpilogue epilogue) {
  return {.m = shape.m,
          .n = shape.n,
          .k = shape.k,
          .transpose_a = shape.transpose_a,
          .transpose_b = shape.transpose_b,
          .lda = shape.lda,
          .ldb = shape.ldb,
          .ldc = shape.ldc,
          .a = GemmType::bf16,
          .b = GemmType::bf16,
          .c = GemmType::bf16,
          .epilogue = epilogue,
          .vector = GemmType::bf16};
}

bool is_empty(const GemmShape& shape) {
  return shape.m == 0 || shape.n == 0 || shape.k == 0;
}

// The library wants rows of aux in steps of 8 elements, which start on 16 bytes.
bool takes_aux(const GemmShape& shape, const bf16* aux) {
  return shape.n % 8 == 0 && reinterpret_cast<uintptr_t>(aux) % 16 == 0;
}

}  // namespace

bool gemm_bias_gelu_cuda(CublasLt& handle, bf16* y, bf16* pre, const bf16* a, const bf16* b, const bf16* bias,
                         const GemmShape& shape, void* workspace, cudaStream_t stream) {
  if (is_empty(shape) || !takes_aux(shape, pre)) return false;
  GemmProduct product = bf16_product(shape, GemmEpilogue::gelu_aux_bias);
  product.ld_aux = shape.n;
  return try_product(handle, product,
                     {.c = y, .a = a, .b = b, .vector = const_cast<bf16*>(bias), .aux = pre, .workspace = workspace},
                     stream);
}

bool gemm_gelu_gradient_cuda(CublasLt& handle, bf16* c, const bf16* pre, const bf16* a, const bf16* b,
                             const GemmShape& shape, void* workspace, cudaStream_t stream) {
  if (is_empty(shape) || !takes_aux(shape, pre)) return false;
  GemmProduct product = bf16_product(shape, GemmEpilogue::dgelu);
  product.ld_aux = shape.n;
  return try_product(handle, product, {.c = c, .a = a, .b = b, .aux = const_cast<bf16*>(pre), .workspace = workspace},
                     stream);
}

}  // namespace nemo::kernels
