#include "kernels/base/pointwise.cuh"
#include "kernels/random/random.h"

namespace nemo::kernels {
namespace {

enum class Draw { normal, uniform };

// Always one element a thread step: an element is one draw, so storing is not what takes the time.
template <class T, Draw kDraw>
struct FillBody {
  T* x;
  RandomKey key;
  float a, b;  // mean and standard deviation, or low and high
  SliceShape shape;
  template <int N>
  __device__ void at(int64_t row, int64_t column) const {
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const int64_t index = (shape.row0 + row) * shape.global_columns + shape.column0 + column + j;
      const Philox4 draw = philox(key, 0, static_cast<uint64_t>(index));
      float value;
      if constexpr (kDraw == Draw::normal) {
        value = a + b * standard_normal(draw.x, draw.y);
      } else {
        value = a + (b - a) * nemo::kernels::uniform(draw.x);
      }
      x[row * shape.columns + column + j] = narrowed<T>(value);
    }
  }
};

template <class T>
struct ConstantBody {
  T* x;
  float value;
  template <int N>
  __device__ void at(int64_t i) const {
    float values[N];
#pragma unroll
    for (int j = 0; j < N; ++j) values[j] = value;
    store(x + i, values);
  }
};

}  // namespace

template <class T>
void fill_normal_cuda(T* x, RandomKey key, float mean, float std, const SliceShape& shape, cudaStream_t stream) {
  launch_rows("fill_normal", shape.rows, shape.columns, false, FillBody<T, Draw::normal>{x, key, mean, std, shape}, stream);
}

template <class T>
void fill_uniform_cuda(T* x, RandomKey key, float low, float high, const SliceShape& shape, cudaStream_t stream) {
  launch_rows("fill_uniform", shape.rows, shape.columns, false, FillBody<T, Draw::uniform>{x, key, low, high, shape}, stream);
}

template <class T>
void fill_constant_cuda(T* x, float value, int64_t count, cudaStream_t stream) {
  launch_flat("fill_constant", count, pack_aligned(x), ConstantBody<T>{x, value}, stream);
}

template void fill_normal_cuda(float*, RandomKey, float, float, const SliceShape&, cudaStream_t);
template void fill_normal_cuda(bf16*, RandomKey, float, float, const SliceShape&, cudaStream_t);
template void fill_uniform_cuda(float*, RandomKey, float, float, const SliceShape&, cudaStream_t);
template void fill_uniform_cuda(bf16*, RandomKey, float, float, const SliceShape&, cudaStream_t);
template void fill_constant_cuda(float*, float, int64_t, cudaStream_t);
template void fill_constant_cuda(bf16*, float, int64_t, cudaStream_t);

}  // namespace nemo::kernels
