// Matrix product C = op(A) op(B) + beta C (+ bias), row-major.  CPU: oneDNN.  CUDA: cuBLASLt.
// Not here: grouped products (kernels/grouped_gemm), quantised products.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/base/cuda_stream.h"
#include "kernels/base/dtype.h"

namespace nemo::kernels {

// op(A) [m, k], op(B) [k, n], C [m, n]; op transposes when asked: transpose_a means A is stored [k, m].
// Leading dimensions count elements between consecutive rows as stored. beta is 0 or 1; bias [n] in the input type or null.
struct GemmShape {
  int64_t m, n, k;
  bool transpose_a = false, transpose_b = false;
  int64_t lda, ldb, ldc;
  float beta = 0;
};

// In (float | bf16), Out (float | bf16). Accumulation in fp32. Where the CPU has no bf16 product, inputs are widened.
template <class In, class Out>
void gemm_cpu(Out* c, const In* a, const In* b, const In* bias, const GemmShape& shape);

// One per device: the cuBLASLt handle, and for each product the algorithm in use. The first use of a product takes what the
// book says; where it says nothing, candidates are timed on the real operands when `tune` is set, else the heuristic's first
// is taken, and the book is told. So it may synchronise there, never after. The book must outlive the handle.
class CublasLt;
class PlanBook;
NEMO_CUDA_KERNEL CublasLt* cublaslt_create(bool tune, PlanBook& book);
NEMO_CUDA_KERNEL void cublaslt_destroy(CublasLt* handle) noexcept;
// workspace: device memory of at least kGemmWorkspaceBytes, used in stream order.
// fp32 operands with a bf16 result: CudaError.
inline constexpr size_t kGemmWorkspaceBytes = size_t{32} << 20;
template <class In, class Out>
NEMO_CUDA_KERNEL void gemm_cuda(CublasLt& handle, Out* c, const In* a, const In* b, const In* bias, const GemmShape& shape,
                                void* workspace, cudaStream_t stream);

}  // namespace nemo::kernels
