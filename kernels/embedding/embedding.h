// Token (and learned position) embedding lookup.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/base/cuda_stream.h"
#include "kernels/base/dtype.h"

namespace nemo::kernels {

// y[t] = table[ids[t] - first_row], zero where the id lies outside [first_row, first_row + rows) (another rank's rows).
//   table [rows, hidden], y [tokens, hidden] T (float | bf16)    ids [tokens] int32. accumulate: y[t] += instead.
struct EmbeddingShape { int64_t tokens, rows, hidden, first_row = 0; };
template <class T>
void embedding_forward_cpu(T* y, bool accumulate, const int32_t* ids, const T* table, const EmbeddingShape& shape);
template <class T>
NEMO_CUDA_KERNEL void embedding_forward_cuda(T* y, bool accumulate, const int32_t* ids, const T* table, const EmbeddingShape& shape,
                                             cudaStream_t stream);

// dtable[r] (+)= sum of dy[t] over tokens with ids[t] = r + first_row, added in token order in fp32 (no atomics: same bits
// every time). accumulate = false also writes zeros to the rows nobody uses.
// scratch: embedding_scratch_bytes(tokens) on the CUDA device (sorted ids and token indices); unused on the CPU.
NEMO_CUDA_KERNEL size_t embedding_scratch_bytes_cuda(const EmbeddingShape& shape);
template <class T, class Grad>
void embedding_backward_cpu(Grad* dtable, bool accumulate, const T* dy, const int32_t* ids, const EmbeddingShape& shape);
template <class T, class Grad>
NEMO_CUDA_KERNEL void embedding_backward_cuda(Grad* dtable, bool accumulate, const T* dy, const int32_t* ids, const EmbeddingShape& shape,
                                              void* scratch, cudaStream_t stream);

}  // namespace nemo::kernels
