// Turning a bf16 matrix into 8-bit floats under one scale (tensorwise, from its present largest magnitude), by rows, by
// columns or both.  Not here: the formats and the scale's rule (kernels/base/fp8.h), products
// (kernels/gemm/fp8_gemm.h).
#pragma once
#include <cstdint>

#include "kernels/base/cuda_stream.h"
#include "kernels/base/dtype.h"
#include "kernels/base/fp8.h"

namespace nemo::kernels {

// x [rows, columns] with `stride` elements between rows. Rows, columns and stride are multiples of 16, and every array
// starts on 16 bytes.
struct QuantiseShape {
  int64_t rows, columns, stride;
};
inline constexpr int64_t kQuantiseMultiple = 16;

// parts [kAmaxParts] fp32: magnitudes of which the largest is the matrix's. NaN is larger than all. Every part is
// written.
// Part p is of the chunks p, p + kAmaxParts, ... of kAmaxChunk elements each, row after row.
inline constexpr int kAmaxParts = 256, kAmaxChunk = 4096;
void amax_cpu(float* parts, const bf16* x, QuantiseShape shape);
NEMO_CUDA_KERNEL void amax_cuda(float* parts, const bf16* x, QuantiseShape shape, cudaStream_t stream);

// payload [rows, columns] and transposed [columns, rows], Float (fp8_e4m3 | fp8_e5m2), gapless; either may be null.
// scale [1] fp32: x is about payload * scale; NaN where the matrix is not finite. Reads x once, whatever it writes.
template <class Float>
void quantise_cpu(Float* payload, Float* transposed, float* scale, const bf16* x, const float* parts,
                  QuantiseShape shape);
template <class Float>
NEMO_CUDA_KERNEL void quantise_cuda(Float* payload, Float* transposed, float* scale, const bf16* x, const float* parts,
                                    QuantiseShape shape, cudaStream_t stream);

}  // namespace nemo::kernels
