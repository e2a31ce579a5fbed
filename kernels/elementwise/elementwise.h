// Small pointwise kernels: conversion, addition, column copies, bias gradients, dropout.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/base/cuda_stream.h"
#include "kernels/base/dtype.h"
#include "kernels/base/philox.h"
#include "kernels/base/step_state.h"

namespace nemo::kernels {

// y[i] = To(x[i]) through fp32, round to nearest even. Pairs of float, bf16, fp16 (fp16 on the CPU only).
template <class To, class From> void convert_cpu(To* y, const From* x, int64_t count);
template <class To, class From> NEMO_CUDA_KERNEL void convert_cuda(To* y, const From* x, int64_t count, cudaStream_t stream);

// y = a + b, T (float | bf16) in fp32. y may be a or b.
template <class T> void add_cpu(T* y, const T* a, const T* b, int64_t count);
template <class T> NEMO_CUDA_KERNEL void add_cuda(T* y, const T* a, const T* b, int64_t count, cudaStream_t stream);

// Copies `columns` elements of `element_bytes` (2 | 4) of each of `rows` rows between buffers with row strides in elements.
struct ColumnsShape { int64_t rows, columns, to_stride, from_stride; size_t element_bytes; };
void copy_columns_cpu(void* to, const void* from, const ColumnsShape& shape);
NEMO_CUDA_KERNEL void copy_columns_cuda(void* to, const void* from, const ColumnsShape& shape, cudaStream_t stream);

// dbias[c] (+)= sum over rows of dy[r, c]; fixed row blocks, so bits do not vary. scratch: fp32 [kBiasRowBlocks * columns].
inline constexpr int64_t kBiasRowBlocks = 128;
struct BiasShape { int64_t rows, columns, stride; };
template <class T, class Grad>
void bias_grad_cpu(Grad* dbias, bool accumulate, const T* dy, const BiasShape& shape, float* scratch);
template <class T, class Grad>
NEMO_CUDA_KERNEL void bias_grad_cuda(Grad* dbias, bool accumulate, const T* dy, const BiasShape& shape, float* scratch, cudaStream_t stream);

// y[t, c] = x[t, c] * keep / (1 - rate); dropped when uniform < rate, where the draw of (t, c) is word c % 4 of
// philox(key, state->step, token_ids[t] * ceil(columns/4) + c / 4). The backward is the same call on dy. y may be x.
struct DropoutShape { int64_t rows, columns; float rate; };
template <class T>
void dropout_cpu(T* y, const T* x, const int64_t* token_ids, RandomKey key, const StepState* state, const DropoutShape& shape);
template <class T>
NEMO_CUDA_KERNEL void dropout_cuda(T* y, const T* x, const int64_t* token_ids, RandomKey key, const StepState* state,
                                   const DropoutShape& shape, cudaStream_t stream);

}  // namespace nemo::kernels
