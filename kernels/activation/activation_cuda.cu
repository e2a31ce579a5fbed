#include "kernels/activation/activation.h"
#include "kernels/base/pointwise.cuh"
#include "kernels/quantise/collect_amax.cuh"

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
  __device__ uint32_t at(int64_t i) const {
    float v[N];
    load(v, x + i);
#pragma unroll
    for (int j = 0; j < N; ++j) v[j] = pointwise<T, kKind>(v[j]).value;
    store(y + i, v);
    return largest_magnitude(v);
  }
};

template <class T, Activation kKind>
struct BackwardBody {
  T* dx;
  const T *dy, *x;
  template <int N>
  __device__ uint32_t at(int64_t i) const {
    float v[N], d[N];
    load(v, x + i);
    load(d, dy + i);
#pragma unroll
    for (int j = 0; j < N; ++j) d[j] *= pointwise<T, kKind>(v[j]).slope;
    store(dx + i, d);
    return largest_magnitude(d);
  }
};

template <class T, Activation kKind>
struct GatedForwardBody {
  T* y;
  const T* x;
  int64_t ffn;
  template <int N>
  __device__ uint32_t at(int64_t row, int64_t column) const {
    float gate[N], up[N];
    load(gate, x + row * 2 * ffn + column);
    load(up, x + row * 2 * ffn + ffn + column);
#pragma unroll
    for (int j = 0; j < N; ++j) gate[j] = pointwise<T, kKind>(gate[j]).value * up[j];
    store(y + row * ffn + column, gate);
    return largest_magnitude(gate);
  }
};

// dx may be x: a thread reads both halves of its columns before it writes them.
template <class T, Activation kKind>
struct GatedBackwardBody {
  T* dx;
  const T *dy, *x;
  int64_t ffn;
  template <int N>
  __device__ uint32_t at(int64_t row, int64_t column) const {
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
    return max(largest_magnitude(gate), largest_magnitude(up));
  }
};

// Launches the body, or where magnitudes are wanted the body with them.
template <class T, class Body>
void launch_flat_amax(const char* name, int64_t count, bool aligned, const Body& body, float* amax, cudaStream_t stream) {
  if (amax == nullptr) return launch_flat(name, count, aligned, body, stream);
  clear_amax(amax, stream);
  launch_flat(name, count, aligned, CollectAmax<T, Body>{body, amax}, stream);
}

template <class T, class Body>
void launch_rows_amax(const char* name, int64_t rows, int64_t columns, bool aligned, const Body& body, float* amax, cudaStream_t stream) {
  if (amax == nullptr) return launch_rows(name, rows, columns, aligned, body, stream);
  clear_amax(amax, stream);
  launch_rows(name, rows, columns, aligned, CollectAmax<T, Body>{body, amax}, stream);
}

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
void activation_forward_amax_cuda(T* y, const T* x, Activation kind, int64_t count, float* amax, cudaStream_t stream) {
  const bool aligned = pack_aligned(y) && pack_aligned(x);
  for_kind(kind, [&]<Activation kKind>() {
    launch_flat_amax<T>("activation_forward", count, aligned, ForwardBody<T, kKind>{y, x}, amax, stream);
  });
}

template <class T>
void activation_backward_amax_cuda(T* dx, const T* dy, const T* x, Activation kind, int64_t count, float* amax, cudaStream_t stream) {
  const bool aligned = pack_aligned(dx) && pack_aligned(dy) && pack_aligned(x);
  for_kind(kind, [&]<Activation kKind>() {
    launch_flat_amax<T>("activation_backward", count, aligned, BackwardBody<T, kKind>{dx, dy, x}, amax, stream);
  });
}

template <class T>
void gated_forward_amax_cuda(T* y, const T* x, Activation kind, GatedShape shape, float* amax, cudaStream_t stream) {
  const bool aligned = pack_aligned(y) && pack_aligned(x) && pack_stride(shape.ffn);
  for_kind(kind, [&]<Activation kKind>() {
    launch_rows_amax<T>("gated_forward", shape.rows, shape.ffn, aligned, GatedForwardBody<T, kKind>{y, x, shape.ffn}, amax, stream);
  });
}

template <class T>
void gated_backward_amax_cuda(T* dx, const T* dy, const T* x, Activation kind, GatedShape shape, float* amax, cudaStream_t stream) {
  const bool aligned = pack_aligned(dx) && pack_aligned(dy) && pack_aligned(x) && pack_stride(shape.ffn);
  for_kind(kind, [&]<Activation kKind>() {
    launch_rows_amax<T>("gated_backward", shape.rows, shape.ffn, aligned, GatedBackwardBody<T, kKind>{dx, dy, x, shape.ffn}, amax, stream);
  });
}

template <class T>
void activation_forward_cuda(T* y, const T* x, Activation kind, int64_t count, cudaStream_t stream) {
  activation_forward_amax_cuda(y, x, kind, count, nullptr, stream);
}
template <class T>
void activation_backward_cuda(T* dx, const T* dy, const T* x, Activation kind, int64_t count, cudaStream_t stream) {
  activation_backward_amax_cuda(dx, dy, x, kind, count, nullptr, stream);
}
template <class T>
void gated_forward_cuda(T* y, const T* x, Activation kind, GatedShape shape, cudaStream_t stream) {
  gated_forward_amax_cuda(y, x, kind, shape, nullptr, stream);
}
template <class T>
void gated_backward_cuda(T* dx, const T* dy, const T* x, Activation kind, GatedShape shape, cudaStream_t stream) {
  gated_backward_amax_cuda(dx, dy, x, kind, shape, nullptr, stream);
}

#define NEMO_INSTANTIATE(T)                                                                                     \
  template void activation_forward_amax_cuda(T*, const T*, Activation, int64_t, float*, cudaStream_t);            \
  template void activation_backward_amax_cuda(T*, const T*, const T*, Activation, int64_t, float*, cudaStream_t); \
  template void gated_forward_amax_cuda(T*, const T*, Activation, GatedShape, float*, cudaStream_t);              \
  template void gated_backward_amax_cuda(T*, const T*, const T*, Activation, GatedShape, float*, cudaStream_t);   \
  template void activation_forward_cuda(T*, const T*, Activation, int64_t, cudaStream_t);                         \
  template void activation_backward_cuda(T*, const T*, const T*, Activation, int64_t, cudaStream_t);              \
  template void gated_forward_cuda(T*, const T*, Activation, GatedShape, cudaStream_t);                           \
  template void gated_backward_cuda(T*, const T*, const T*, Activation, GatedShape, cudaStream_t);
NEMO_INSTANTIATE(float)
NEMO_INSTANTIATE(bf16)
#undef NEMO_INSTANTIATE

}  // namespace nemo::kernels
