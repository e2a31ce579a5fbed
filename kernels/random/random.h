// Filling parameters: normal, uniform, constant; each element drawn by its global index, so any slice draws the same numbers.
#pragma once
#include <cstdint>

#include "kernels/base/cuda_stream.h"
#include "kernels/base/dtype.h"
#include "kernels/base/philox.h"

namespace nemo::kernels {

// x[r, c] of a [rows, columns] slice holds global element i = (row0 + r) * global_columns + column0 + c.
//   normal: mean + std * standard_normal(philox(key, 0, i)'s first two words);  uniform: low + (high-low) * uniform(first word)
struct SliceShape { int64_t rows, columns, row0 = 0, column0 = 0, global_columns; };
template <class T> void fill_normal_cpu(T* x, RandomKey key, float mean, float std, const SliceShape& shape);
template <class T> NEMO_CUDA_KERNEL void fill_normal_cuda(T* x, RandomKey key, float mean, float std, const SliceShape& shape, cudaStream_t stream);
template <class T> void fill_uniform_cpu(T* x, RandomKey key, float low, float high, const SliceShape& shape);
template <class T> NEMO_CUDA_KERNEL void fill_uniform_cuda(T* x, RandomKey key, float low, float high, const SliceShape& shape, cudaStream_t stream);
template <class T> void fill_constant_cpu(T* x, float value, int64_t count);
template <class T> NEMO_CUDA_KERNEL void fill_constant_cuda(T* x, float value, int64_t count, cudaStream_t stream);

}  // namespace nemo::kernels
