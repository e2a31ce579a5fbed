// Tensors as 8-bit floats, and products of such tensors.
// Not here: gradients (core/ops/fp8_linear.h).
#pragma once
#include "core/exec_context.h"
#include "core/tensor/quantised_tensor.h"

namespace nemo {

// Fills what is defined of `to` from x [rows, columns] bf16 (rows may be strided, sizes multiples of 16), under the
// largest power-of-two scale that x's present largest magnitude allows. A tensor that is not finite gets the scale NaN.
void quantise_into(ExecContext& ctx, const QuantisedTensor& to, const Tensor& x);

// For ops that take the magnitudes of what they write: the room for them, undefined where ctx does not want them; what
// the CPU does after writing y (CUDA kernels do it on the way); and y with what was taken.
struct AmaxRoom {
  Tensor parts;
  float* data() const { return parts.defined() ? parts.data<float>() : nullptr; }
  void collect_cpu(const Tensor& y) const;
  Tensor on(const Tensor& y) const { return parts.defined() ? y.with_amax(parts) : y; }
};
AmaxRoom amax_room(ExecContext& ctx, const Tensor& y);

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
