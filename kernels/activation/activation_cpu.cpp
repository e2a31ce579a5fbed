#include "kernels/activation/activation.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/fast_math.h"
#include "kernels/base/parallel_for.h"

namespace nemo::kernels {
namespace {

constexpr int64_t kGrain = 8192;  // elements per chunk

// Value and slope of one activation, each a type so that the loops below are compiled per activation and vectorise.
struct GeluTanh {  // 0.5 (1 + tanh u) = sigmoid(2 u)
  static constexpr float kRoot2OverPi = 0.797884560802865356f, kCubic = 0.044715f;
  static float gate(float x) { return fast_sigmoid(2.0f * kRoot2OverPi * (x + kCubic * x * x * x)); }
  static float value(float x) { return x * gate(x); }
  static float slope(float x) {
    const float s = gate(x);
    return s + x * s * (1.0f - s) * (2.0f * kRoot2OverPi * (1.0f + 3.0f * kCubic * x * x));
  }
};
struct Gelu {  // x Phi(x), Phi the normal distribution
  static float distribution(float x) { return 0.5f * std::erfc(-0.707106781186547524f * x); }
  static float value(float x) { return x * distribution(x); }
  static float slope(float x) { return distribution(x) + x * 0.398942280401432678f * fast_exp(-0.5f * x * x); }
};
struct Silu {
  static float value(float x) { return x * fast_sigmoid(x); }
  static float slope(float x) {
    const float s = fast_sigmoid(x);
    return s * (1.0f + x * (1.0f - s));
  }
};
struct Relu {
  static float value(float x) { return x < 0.0f ? 0.0f : x; }
  static float slope(float x) { return x > 0.0f ? 1.0f : 0.0f; }
};

template <class Body>
void dispatch(Activation kind, const Body& body) {
  switch (kind) {
    case Activation::gelu_tanh: return body(GeluTanh{});
    case Activation::gelu: return body(Gelu{});
    case Activation::silu: return body(Silu{});
    case Activation::relu: return body(Relu{});
  }
}

}  // namespace

template <class T>
void activation_forward_cpu(T* y, const T* x, Activation kind, int64_t count) {
  dispatch(kind, [&](auto f) {
    parallel_for(count, kGrain, [&](int64_t begin, int64_t end) {
#pragma GCC ivdep  // y is x or apart from it
      for (int64_t i = begin; i < end; ++i) y[i] = static_cast<T>(f.value(x[i]));
    });
  });
}

template <class T>
void activation_backward_cpu(T* dx, const T* dy, const T* x, Activation kind, int64_t count) {
  dispatch(kind, [&](auto f) {
    parallel_for(count, kGrain, [&](int64_t begin, int64_t end) {
#pragma GCC ivdep
      for (int64_t i = begin; i < end; ++i) dx[i] = static_cast<T>(static_cast<float>(dy[i]) * f.slope(x[i]));
    });
  });
}

template <class T>
void gated_forward_cpu(T* y, const T* x, Activation kind, GatedShape shape) {
  dispatch(kind, [&](auto f) {
    parallel_for(shape.rows, std::max<int64_t>(1, kGrain / shape.ffn), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const T *gate = x + r * 2 * shape.ffn, *up = gate + shape.ffn;
        T* out = y + r * shape.ffn;
        for (int64_t i = 0; i < shape.ffn; ++i) out[i] = static_cast<T>(f.value(gate[i]) * static_cast<float>(up[i]));
      }
    });
  });
}

template <class T>
void gated_backward_cpu(T* dx, const T* dy, const T* x, Activation kind, GatedShape shape) {
  dispatch(kind, [&](auto f) {
    parallel_for(shape.rows, std::max<int64_t>(1, kGrain / shape.ffn), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const T *gate = x + r * 2 * shape.ffn, *up = gate + shape.ffn, *g = dy + r * shape.ffn;
        T *dgate = dx + r * 2 * shape.ffn, *dup = dgate + shape.ffn;
#pragma GCC ivdep  // dx is x or apart from it
        for (int64_t i = 0; i < shape.ffn; ++i) {
          const float a = gate[i], b = up[i], d = g[i];
          dgate[i] = static_cast<T>(d * b * f.slope(a));
          dup[i] = static_cast<T>(d * f.value(a));
        }
      }
    });
  });
}

#define NEMO_INSTANTIATE(T)                                                                 \
  template void activation_forward_cpu(T*, const T*, Activation, int64_t);                  \
  template void activation_backward_cpu(T*, const T*, const T*, Activation, int64_t);       \
  template void gated_forward_cpu(T*, const T*, Activation, GatedShape);                    \
  template void gated_backward_cpu(T*, const T*, const T*, Activation, GatedShape);
NEMO_INSTANTIATE(float)
NEMO_INSTANTIATE(bf16)
#undef NEMO_INSTANTIATE

}  // namespace nemo::kernels
