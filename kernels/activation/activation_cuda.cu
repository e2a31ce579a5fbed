#include "kernels/activation/activation.h"
#include "kernels/base/pointwise.cuh"

namespace nemo::kernels {
namespace {

constexpr float kSqrtTwoOverPi = 0.797884560802865355880f, kGeluCubic = 0.044715f;
constexpr float kInverseSqrtTwo = 0.707106781186547524401f, kInverseSqrtTwoPi = 0.398942280401432677940f;

// 1 / (1 + e^-x). For bf16 by the hardware's power of two and reciprocal, each a few fp32 last places off: far below what
// rounding to bf16 takes, and the kernels stay bound by memory. The hardware's tanh is not that exact.
template <class T>
__device__ inline float sigmoid(float x) {
  if constexpr (sizeof(T) == 2) {
    return __fdividef(1.0f, 1.0f + __expf(-x));
  } else {
    return 1.0f / (1.0f + expf(-x));
  }
}

// Value and slope together: they share the sigmoid or the error function.
struct Pointwise { float value, slope; };

template <class T, Activation kKind>
__device__ inline Pointwise pointwise(float x) {
  if constexpr (kKind == Activation::gelu_tanh) {  // 0.5 (1 + tanh u) = sigmoid(2 u)
    const float s = sigmoid<T>(2.0f * kSqrtTwoOverPi * (x + kGeluCubic * x * x * x));
    return {x * s, s + x * s * (1.0f - s) * (2.0f * kSqrtTwoOverPi * (1.0f + 3.0f * kGeluCubic * x * x))};
  }
  if constexpr (kKind == Activation::gelu) {
    const float distribution = 0.5f * erfcf(-x * kInverseSqrtTwo);
    return {x * distribution, distribution + x * kInverseSqrtTwoPi * expf(-0.5f * x * x)};
  }
  if constexpr (kKind == Activation::silu) {
    const float s = sigmoid<T>(x);
    return {x * s, s * (1.0f + x * (1.0f - s))};
  }
  if constexpr (kKind == Activation::relu) return {x < 0.0f ? 0.0f : x, x > 0.0f ? 1.0f : 0.0f};  // NaN stays NaN
}

template <class T, Activation kKind>
struct ForwardBody {
  T* y;
  const T* x;
  template <int N>
  __device__ void at(int64_t i) const {
    float v[N];
    load(v, x + i);
#pragma unroll
    for (int j = 0; j < N; ++j) v[j] = pointwise<T, kKind>(v[j]).value;
    store(y + i, v);
  }
};

template <class T, Activation kKind>
struct BackwardBody {
  T* dx;
  const T *dy, *x;
  template <int N>
  __device__ void at(int64_t i) const {
    float v[N], d[N];
    load(v, x + i);
    load(d, dy + i);
#pragma unroll
    for (int j = 0; j < N; ++j) d[j] *= pointwise<T, kKind>(v[j]).slope;
    store(dx + i, d);
  }
};

template <class T, Activation kKind>
struct GatedForwardBody {
  T* y;
  const T* x;
  int64_t ffn;
  template <int N>
  __device__ void at(int64_t row, int64_t column) const {
    float gate[N], up[N];
    load(gate, x + row * 2 * ffn + column);
    load(up, x + row * 2 * ffn + ffn + column);
#pragma unroll
    for (int j = 0; j < N; ++j) gate[j] = pointwise<T, kKind>(gate[j]).value * up[j];
    store(y + row * ffn + column, gate);
  }
};

// dx may be x: a thread reads both halves of its columns before it writes them.
template <class T, Activation kKind>
struct GatedBackwardBody {
  T* dx;
  const T *dy, *x;
  int64_t ffn;
  template <int N>
  __device__ void at(int64_t row, int64_t column) const {
    float gate[N], up[N], d[N];
    load(gate, x + row * 2 * ffn + column);
    load(up, x + row * 2 * ffn + ffn + column);
    load(d, dy + row * ffn + column);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const Pointwise f = pointwise<T, kKind>(gate[j]);
      gate[j] = d[j] * up[j] * f.slope;
      up[j] = d[j] * f.value;
    }
    store(dx + row * 2 * ffn + column, gate);
    store(dx + row * 2 * ffn + ffn + column, up);
  }
};

// Calls launch.operator()<kind>() for the run-time kind.
template <class Launch>
void for_kind(Activation kind, const Launch& launch) {
  switch (kind) {
    case Activation::gelu_tanh: return launch.template operator()<Activation::gelu_tanh>();
    case Activation::gelu: return launch.template operator()<Activation::gelu>();
    case Activation::silu: return launch.template operator()<Activation::silu>();
    case Activation::relu: return launch.template operator()<Activation::relu>();
  }
}

}  // namespace

template <class T>
void activation_forward_cuda(T* y, const T* x, Activation kind, int64_t count, cudaStream_t stream) {
  const bool aligned = pack_aligned(y) && pack_aligned(x);
  for_kind(kind, [&]<Activation kKind>() {
    launch_flat("activation_forward", count, aligned, ForwardBody<T, kKind>{y, x}, stream);
  });
}

template <class T>
void activation_backward_cuda(T* dx, const T* dy, const T* x, Activation kind, int64_t count, cudaStream_t stream) {
  const bool aligned = pack_aligned(dx) && pack_aligned(dy) && pack_aligned(x);
  for_kind(kind, [&]<Activation kKind>() {
    launch_flat("activation_backward", count, aligned, BackwardBody<T, kKind>{dx, dy, x}, stream);
  });
}

template <class T>
void gated_forward_cuda(T* y, const T* x, Activation kind, GatedShape shape, cudaStream_t stream) {
  const bool aligned = pack_aligned(y) && pack_aligned(x) && pack_stride(shape.ffn);
  for_kind(kind, [&]<Activation kKind>() {
    launch_rows("gated_forward", shape.rows, shape.ffn, aligned, GatedForwardBody<T, kKind>{y, x, shape.ffn}, stream);
  });
}

template <class T>
void gated_backward_cuda(T* dx, const T* dy, const T* x, Activation kind, GatedShape shape, cudaStream_t stream) {
  const bool aligned = pack_aligned(dx) && pack_aligned(dy) && pack_aligned(x) && pack_stride(shape.ffn);
  for_kind(kind, [&]<Activation kKind>() {
    launch_rows("gated_backward", shape.rows, shape.ffn, aligned, GatedBackwardBody<T, kKind>{dx, dy, x, shape.ffn}, stream);
  });
}

template void activation_forward_cuda(float*, const float*, Activation, int64_t, cudaStream_t);
template void activation_forward_cuda(bf16*, const bf16*, Activation, int64_t, cudaStream_t);
template void activation_backward_cuda(float*, const float*, const float*, Activation, int64_t, cudaStream_t);
template void activation_backward_cuda(bf16*, const bf16*, const bf16*, Activation, int64_t, cudaStream_t);
template void gated_forward_cuda(float*, const float*, Activation, GatedShape, cudaStream_t);
template void gated_forward_cuda(bf16*, const bf16*, Activation, GatedShape, cudaStream_t);
template void gated_backward_cuda(float*, const float*, const float*, Activation, GatedShape, cudaStream_t);
template void gated_backward_cuda(bf16*, const bf16*, const bf16*, Activation, GatedShape, cudaStream_t);

}  // namespace nemo::kernels
