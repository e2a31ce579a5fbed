// One matrix product as cuBLASLt sees it, with the types, epilogue and scales that gemm.h does not speak of; the
// algorithm of each is chosen once and kept in the plan book. CUDA only. Not here: which op wants which product.
#pragma once
#include <cstdint>

#include "kernels/base/cuda_stream.h"
#include "kernels/base/dtype.h"
#include "kernels/gemm/gemm.h"

namespace nemo::kernels {

enum class GemmType : uint8_t { fp32, bf16, e4m3, e5m2 };  // e4m3 and e5m2 in a and b alone

// What is done to the product before it is stored. `vector` and `aux` are operands; gelu is the tanh form.
enum class GemmEpilogue : uint8_t {
  none,
  bias,           // c = AB + vector, vector [n]
  gelu_aux,       // aux = AB, c = gelu(aux)
  gelu_aux_bias,  // aux = AB + vector, c = gelu(aux)
  dgelu,          // c = AB gelu'(aux)
  dgelu_bgrad,    // the same, and vector [n] = sum over rows of c
  bgrad_a,        // c = AB, and vector [m] = sum over k of op(A)
  bgrad_b,        // c = AB, and vector [n] = sum over k of op(B)
};

// C [m, n] = op(A) [m, k] op(B) [k, n] + C if add_to_c, all row-major as in gemm.h, sums in fp32.
struct GemmProduct {
  int64_t m, n, k;
  bool transpose_a = false, transpose_b = false, add_to_c = false;
  int64_t lda, ldb, ldc;
  GemmType a, b, c;
  GemmEpilogue epilogue = GemmEpilogue::none;
  GemmType vector = GemmType::fp32;  // type of the epilogue's vector
  int64_t ld_aux = 0;                // elements from row to row of aux [m, n], which has c's type
  bool fast_accumulation = false;    // fp8: partial sums in fewer bits
  bool scaled = false;               // fp8: operands have scales
  bool operator==(const GemmProduct&) const = default;
};

struct GemmOperands {
  void* c;
  const void *a, *b;
  void* vector = nullptr;
  void* aux = nullptr;
  const float *scale_a = nullptr, *scale_b = nullptr;  // on the device: what a and b are multiplied by
  void* workspace;                                     // kGemmWorkspaceBytes, in stream order
};

// The first use of a product may time candidates on these very operands and waits for them; c holds the right result
// after it. CudaError where the library has no algorithm.
NEMO_CUDA_KERNEL void run_product(CublasLt& handle, const GemmProduct& product, const GemmOperands& operands,
                                  cudaStream_t stream);
// The same, but where the library has no algorithm: false, and nothing is done. Asked at the product's first use, kept in
// the plan book like an algorithm, and a notice of the book.
NEMO_CUDA_KERNEL bool try_product(CublasLt& handle, const GemmProduct& product, const GemmOperands& operands,
                                  cudaStream_t stream);

}  // namespace nemo::kernels
