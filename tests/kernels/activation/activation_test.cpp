#include "kernels/activation/activation.h"

#include "tests/kernels/device_array.h"

using namespace nemo;
using namespace nemo::kernels;
using namespace nemo::testing;

namespace {

constexpr Activation kKinds[] = {Activation::gelu_tanh, Activation::gelu, Activation::silu, Activation::relu};

double value(Activation kind, double x) {
  switch (kind) {
    case Activation::gelu_tanh: return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::gelu: return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::silu: return x / (1 + std::exp(-x));
    case Activation::relu: return std::max(x, 0.0);
  }
  return NAN;
}

// By central difference; relu away from its corner is exact this way too.
double slope(Activation kind, double x) {
  if (kind == Activation::relu) return x > 0 ? 1 : 0;
  const double h = 1e-5;
  return (value(kind, x + h) - value(kind, x - h)) / (2 * h);
}

template <class T>
void check_plain(const TestDevice& device, Activation kind, int64_t count) {
  CAPTURE(static_cast<int>(kind), count);
  const auto x = random_values<T>(count, 1, 3.0), dy = random_values<T>(count, 2);
  std::vector<double> expected_y, expected_dx;
  for (int64_t i = 0; i < count; ++i) {
    expected_y.push_back(value(kind, static_cast<float>(x[i])));
    expected_dx.push_back(static_cast<double>(static_cast<float>(dy[i])) * slope(kind, static_cast<float>(x[i])));
  }
  Array<T> x_in(device, x), dy_in(device, dy), y(device, count), dx(device, count);
  NEMO_LAUNCH(device, activation_forward, y.data(), x_in.data(), kind, count);
  check_close<T>(y.values(), expected_y);
  NEMO_LAUNCH(device, activation_backward, dx.data(), dy_in.data(), x_in.data(), kind, count);
  check_close<T>(dx.values(), expected_dx);
  NEMO_LAUNCH(device, activation_backward, dy_in.data(), dy_in.data(), x_in.data(), kind, count);
  CHECK(same_bits(dy_in.values(), dx.values()));
  NEMO_LAUNCH(device, activation_forward, x_in.data(), x_in.data(), kind, count);
  CHECK(same_bits(x_in.values(), y.values()));
}

template <class T>
void check_gated(const TestDevice& device, Activation kind, GatedShape shape) {
  CAPTURE(static_cast<int>(kind), shape.rows, shape.ffn);
  const auto x = random_values<T>(shape.rows * 2 * shape.ffn, 3, 2.0), dy = random_values<T>(shape.rows * shape.ffn, 4);
  const auto xd = to_doubles(x), gd = to_doubles(dy);
  std::vector<double> expected_y(dy.size()), expected_dx(x.size());
  for (int64_t r = 0; r < shape.rows; ++r)
    for (int64_t i = 0; i < shape.ffn; ++i) {
      const int64_t gate = r * 2 * shape.ffn + i, up = gate + shape.ffn, out = r * shape.ffn + i;
      expected_y[out] = value(kind, xd[gate]) * xd[up];
      expected_dx[gate] = gd[out] * xd[up] * slope(kind, xd[gate]);
      expected_dx[up] = gd[out] * value(kind, xd[gate]);
    }
  Array<T> x_in(device, x), dy_in(device, dy), y(device, dy.size()), dx(device, x.size());
  NEMO_LAUNCH(device, gated_forward, y.data(), x_in.data(), kind, shape);
  check_close<T>(y.values(), expected_y);
  NEMO_LAUNCH(device, gated_backward, dx.data(), dy_in.data(), x_in.data(), kind, shape);
  check_close<T>(dx.values(), expected_dx);
  NEMO_LAUNCH(device, gated_backward, x_in.data(), dy_in.data(), x_in.data(), kind, shape);
  CHECK(same_bits(x_in.values(), dx.values()));
}

void plain(const TestDevice& device) {
  for (const Activation kind : kKinds)
    for (const int64_t count : {1, 13, 257, 30001}) {
      check_plain<float>(device, kind, count);
      check_plain<bf16>(device, kind, count);
    }
}

void gated(const TestDevice& device) {
  for (const Activation kind : kKinds)
    for (const GatedShape& shape : {GatedShape{1, 1}, {3, 11}, {37, 264}, {5, 10000}}) {
      check_gated<float>(device, kind, shape);
      check_gated<bf16>(device, kind, shape);
    }
}

// Far from zero the exponentials overflow or vanish; the functions do not.
void extremes(const TestDevice& device) {
  const std::vector<float> x = {-1e30f, -200.0f, -90.0f, 0.0f, 90.0f, 200.0f};
  const int64_t count = static_cast<int64_t>(x.size());
  for (const Activation kind : kKinds) {
    CAPTURE(static_cast<int>(kind));
    Array<float> x_in(device, x), y(device, x.size());
    NEMO_LAUNCH(device, activation_forward, y.data(), x_in.data(), kind, count);
    const auto values = y.values();
    for (size_t i = 0; i < x.size(); ++i) CHECK(values[i] == Approx(std::max(x[i], 0.0f)).margin(1e-30));
  }
}

}  // namespace

NEMO_KERNEL_TEST("activations and their slopes", "[activation]", plain)
NEMO_KERNEL_TEST("gated activations and their gradients", "[activation]", gated)
NEMO_KERNEL_TEST("activations far from zero", "[activation]", extremes)
