// What a product needs and cuBLASLt's epilogues do not give. CUDA builds only.
#pragma once
#include <cstdint>

#include "kernels/base/cuda_stream.h"
#include "kernels/base/dtype.h"

namespace nemo::kernels {

// c[r, j] += bias[j] for [rows, columns] of c, rows `stride` apart, in fp32.
struct RowVectorShape { int64_t rows, columns, stride; };
template <class Out, class In>
void add_row_vector(Out* c, const In* bias, const RowVectorShape& shape, cudaStream_t stream);

}  // namespace nemo::kernels
