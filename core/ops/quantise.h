// Tensors as 8-bit floats, and products of such tensors.
// Not here: gradients (core/ops/fp8_linear.h).
#pragma once
#include "core/exec_context.h"
#include "core/tensor/quantised_tensor.h"

namespace nemo {

// Fills what is defined of `to` from x [rows, columns] bf16 (rows may be strided, sizes multiples of 16), under the
// largest power-of-two scale that x's present largest magnitude allows. A tensor that is not finite gets the scale NaN.
void quantise_into(ExecContext& ctx, const QuantisedTensor& to, const Tensor& x);

struct QuantiseParts {
  bool payload = true, transposed = false;
};
QuantisedTensor quantise(ExecContext& ctx, const Tensor& x, DType format, QuantiseParts parts);

// c (+)= a b^T (+ bias): a [m, k] in either format, b [n, k] fp8_e4m3, c bf16 or (of fp8_e5m2) fp32.
struct Fp8Matrix {
  const Tensor& codes;
  const Tensor& scale;
};
struct Fp8GemmFlags {
  bool accumulate = false, fast_accumulation = false;
};
void fp8_gemm(ExecContext& ctx, const Tensor& c, Fp8Matrix a, Fp8Matrix b, Fp8GemmFlags flags, const Tensor& bias = {});

}  // namespace nemo
