#include "kernels/base/column_sum.cuh"
#include "kernels/base/pointwise.cuh"
#include "kernels/elementwise/elementwise.h"

namespace nemo::kernels {
namespace {

template <class To, class From>
struct ConvertBody {
  To* y;
  const From* x;
  template <int N>
  __device__ void at(int64_t i) const {
    float value[N];
    load(value, x + i);
    store(y + i, value);
  }
};

template <class T>
struct AddBody {
  T* y;
  const T *a, *b;
  template <int N>
  __device__ void at(int64_t i) const {
    float left[N], right[N];
    load(left, a + i);
    load(right, b + i);
#pragma unroll
    for (int j = 0; j < N; ++j) left[j] += right[j];
    store(y + i, left);
  }
};

// Copies words: a pack of kPackSize words is two 16-byte accesses for 4-byte words and one for 2-byte words.
template <class Word>
struct CopyBody {
  Word* to;
  const Word* from;
  int64_t to_stride, from_stride;
  template <int N>
  __device__ void at(int64_t row, int64_t column) const {
    Word* target = to + row * to_stride + column;
    const Word* source = from + row * from_stride + column;
    if constexpr (N == 1) {
      *target = *source;
    } else {
      constexpr int kAccesses = kPackSize * sizeof(Word) / sizeof(uint4);
      uint4 value[kAccesses];
#pragma unroll
      for (int j = 0; j < kAccesses; ++j) value[j] = reinterpret_cast<const uint4*>(source)[j];
#pragma unroll
      for (int j = 0; j < kAccesses; ++j) reinterpret_cast<uint4*>(target)[j] = value[j];
    }
  }
};

template <class Word>
void copy_words(void* to, const void* from, const ColumnsShape& shape, cudaStream_t stream) {
  const bool aligned = pack_aligned(to) && pack_aligned(from) && pack_stride(shape.columns) && pack_stride(shape.to_stride) &&
                       pack_stride(shape.from_stride);
  const CopyBody<Word> body{static_cast<Word*>(to), static_cast<const Word*>(from), shape.to_stride, shape.from_stride};
  launch_rows("copy_columns", shape.rows, shape.columns, aligned, body, stream);
}

template <class T>
struct BiasTerm {
  static constexpr int kOutputs = 1;
  const T* dy;
  int64_t stride;
  template <int N>
  __device__ void add(float (&sum)[1][N], int64_t row, int64_t column) const {
    float value[N];
    load(value, dy + row * stride + column);
#pragma unroll
    for (int j = 0; j < N; ++j) sum[0][j] += value[j];
  }
};

template <class T>
struct DropoutBody {
  T* y;
  const T* x;
  const int64_t* token_ids;
  RandomKey key;
  const StepState* state;
  int64_t columns, draws_per_row;  // a draw is four words, one a column
  float rate, keep_scale;

  __device__ float kept(float value, uint32_t word) const { return uniform(word) < rate ? 0.0f : value * keep_scale; }

  template <int N>
  __device__ void at(int64_t row, int64_t column) const {
    const uint64_t step = static_cast<uint64_t>(state->step);
    const uint64_t first_draw = static_cast<uint64_t>(token_ids[row] * draws_per_row + column / 4);
    float value[N];
    load(value, x + row * columns + column);
    if constexpr (N == 1) {
      const Philox4 draw = philox(key, step, first_draw);
      const int64_t word = column % 4;
      value[0] = kept(value[0], word == 0 ? draw.x : word == 1 ? draw.y : word == 2 ? draw.z : draw.w);
    } else {
#pragma unroll
      for (int j = 0; j < N / 4; ++j) {
        const Philox4 draw = philox(key, step, first_draw + j);
        value[4 * j] = kept(value[4 * j], draw.x);
        value[4 * j + 1] = kept(value[4 * j + 1], draw.y);
        value[4 * j + 2] = kept(value[4 * j + 2], draw.z);
        value[4 * j + 3] = kept(value[4 * j + 3], draw.w);
      }
    }
    store(y + row * columns + column, value);
  }
};

}  // namespace

template <class To, class From>
void convert_cuda(To* y, const From* x, int64_t count, cudaStream_t stream) {
  launch_flat("convert", count, pack_aligned(y) && pack_aligned(x), ConvertBody<To, From>{y, x}, stream);
}

template <class T>
void add_cuda(T* y, const T* a, const T* b, int64_t count, cudaStream_t stream) {
  launch_flat("add", count, pack_aligned(y) && pack_aligned(a) && pack_aligned(b), AddBody<T>{y, a, b}, stream);
}

void copy_columns_cuda(void* to, const void* from, const ColumnsShape& shape, cudaStream_t stream) {
  if (shape.element_bytes == 2) return copy_words<uint16_t>(to, from, shape, stream);
  if (shape.element_bytes == 4) return copy_words<uint32_t>(to, from, shape, stream);
  throw CudaError("copy_columns", "elements of " + std::to_string(shape.element_bytes) + " bytes; 2 and 4 are known");
}

template <class T, class Grad>
void bias_grad_cuda(Grad* dbias, bool accumulate, const T* dy, const BiasShape& shape, float* scratch, cudaStream_t stream) {
  const bool aligned = pack_aligned(dy) && pack_stride(shape.stride);
  column_sums("bias_grad", ColumnOutputs<Grad, 1>{{{dbias, accumulate}}}, BiasTerm<T>{dy, shape.stride},
              {shape.rows, shape.columns, kBiasRowBlocks}, aligned, scratch, stream);
}

template <class T>
void dropout_cuda(T* y, const T* x, const int64_t* token_ids, RandomKey key, const StepState* state, const DropoutShape& shape,
                  cudaStream_t stream) {
  const bool aligned = pack_aligned(y) && pack_aligned(x) && pack_stride(shape.columns);
  const DropoutBody<T> body{y, x, token_ids, key, state, shape.columns, (shape.columns + 3) / 4, shape.rate,
                            1.0f / (1.0f - shape.rate)};
  launch_rows("dropout", shape.rows, shape.columns, aligned, body, stream);
}

template void convert_cuda(float*, const float*, int64_t, cudaStream_t);
template void convert_cuda(float*, const bf16*, int64_t, cudaStream_t);
template void convert_cuda(bf16*, const float*, int64_t, cudaStream_t);
template void convert_cuda(bf16*, const bf16*, int64_t, cudaStream_t);
template void add_cuda(float*, const float*, const float*, int64_t, cudaStream_t);
template void add_cuda(bf16*, const bf16*, const bf16*, int64_t, cudaStream_t);
template void bias_grad_cuda(float*, bool, const float*, const BiasShape&, float*, cudaStream_t);
template void bias_grad_cuda(bf16*, bool, const float*, const BiasShape&, float*, cudaStream_t);
template void bias_grad_cuda(float*, bool, const bf16*, const BiasShape&, float*, cudaStream_t);
template void bias_grad_cuda(bf16*, bool, const bf16*, const BiasShape&, float*, cudaStream_t);
template void dropout_cuda(float*, const float*, const int64_t*, RandomKey, const StepState*, const DropoutShape&, cudaStream_t);
template void dropout_cuda(bf16*, const bf16*, const int64_t*, RandomKey, const StepState*, const DropoutShape&, cudaStream_t);

}  // namespace nemo::kernels
