#include "kernels/norm/layer_norm.h"

#include "tests/kernels/device_array.h"
#include "tests/kernels/threads.h"

using namespace nemo;
using namespace nemo::kernels;
using namespace nemo::testing;

namespace {

constexpr float kEps = 1e-5f;

struct Moments { std::vector<double> mean, rstd; };

Moments moments_of(const std::vector<double>& s, LayerNormSize size) {
  Moments m;
  for (int64_t r = 0; r < size.rows; ++r) {
    double sum = 0, square = 0;
    for (int64_t h = 0; h < size.hidden; ++h) sum += s[r * size.hidden + h];
    m.mean.push_back(sum / size.hidden);
    for (int64_t h = 0; h < size.hidden; ++h) square += std::pow(s[r * size.hidden + h] - m.mean.back(), 2);
    m.rstd.push_back(1 / std::sqrt(square / size.hidden + static_cast<double>(kEps)));
  }
  return m;
}

template <class T>
void check_forward(const TestDevice& device, LayerNormSize size, bool with_branch) {
  CAPTURE(size.rows, size.hidden, with_branch);
  const size_t count = size.rows * size.hidden;
  const auto x = random_values<T>(count, 1, 2.0, 0.5), branch = random_values<T>(count, 2);
  const auto weight = random_values<T>(size.hidden, 3, 0.2, 1.0), bias = random_values<T>(size.hidden, 4);
  Array<T> x_in(device, x), branch_in(device, branch), w(device, weight), b(device, bias), y(device, count);
  Array<float> mean(device, size.rows), rstd(device, size.rows);
  // The sum replaces x, as the residual stream does.
  NEMO_LAUNCH(device, layer_norm_forward, y.data(), with_branch ? x_in.data() : static_cast<T*>(nullptr), mean.data(), rstd.data(),
              x_in.data(), with_branch ? branch_in.data() : static_cast<T*>(nullptr), w.data(), b.data(), size, kEps);
  std::vector<double> s(count), expected(count);
  for (size_t i = 0; i < count; ++i)
    s[i] = static_cast<float>(with_branch ? static_cast<T>(static_cast<float>(x[i]) + static_cast<float>(branch[i])) : x[i]);
  const Moments m = moments_of(s, size);
  for (size_t i = 0; i < count; ++i) {
    const size_t r = i / size.hidden, h = i % size.hidden;
    expected[i] = (s[i] - m.mean[r]) * m.rstd[r] * static_cast<double>(static_cast<float>(weight[h])) + static_cast<float>(bias[h]);
  }
  check_close<T>(y.values(), expected);
  check_close<float>(mean.values(), m.mean);
  check_close<float>(rstd.values(), m.rstd);
  CHECK(to_doubles(x_in.values()) == s);
}

template <class T>
void check_backward_input(const TestDevice& device, LayerNormSize size, bool with_dsum) {
  CAPTURE(size.rows, size.hidden, with_dsum);
  const size_t count = size.rows * size.hidden;
  const auto s = random_values<T>(count, 5, 2.0, 0.5), dy = random_values<T>(count, 6), dsum = random_values<T>(count, 7);
  const auto weight = random_values<T>(size.hidden, 8, 0.2, 1.0);
  const auto sd = to_doubles(s), gd = to_doubles(dy), rd = to_doubles(dsum), wd = to_doubles(weight);
  const Moments m = moments_of(sd, size);
  Array<T> s_in(device, s), dy_in(device, dy), dsum_in(device, dsum), w(device, weight), dx(device, count);
  Array<float> mean(device, {m.mean.begin(), m.mean.end()}), rstd(device, {m.rstd.begin(), m.rstd.end()});
  std::vector<double> expected(count);
  for (int64_t r = 0; r < size.rows; ++r) {
    double total = 0, projection = 0;
    const auto shat = [&](int64_t h) { return (sd[r * size.hidden + h] - m.mean[r]) * m.rstd[r]; };
    for (int64_t h = 0; h < size.hidden; ++h) {
      total += wd[h] * gd[r * size.hidden + h] / size.hidden;
      projection += wd[h] * gd[r * size.hidden + h] * shat(h) / size.hidden;
    }
    for (int64_t h = 0; h < size.hidden; ++h) {
      const int64_t i = r * size.hidden + h;
      expected[i] = m.rstd[r] * (wd[h] * gd[i] - total - shat(h) * projection) + (with_dsum ? rd[i] : 0);
    }
  }
  const auto launch = [&](T* out) {
    NEMO_LAUNCH(device, layer_norm_backward_input, out, dy_in.data(), with_dsum ? dsum_in.data() : static_cast<T*>(nullptr),
                s_in.data(), mean.data(), rstd.data(), w.data(), size);
  };
  launch(dx.data());
  check_close<T>(dx.values(), expected);
  if (with_dsum) {
    launch(dsum_in.data());
    check_close<T>(dsum_in.values(), expected);
  } else {
    launch(dy_in.data());
    check_close<T>(dy_in.values(), expected);
  }
}

template <class T, class Grad>
void check_backward_weight(const TestDevice& device, LayerNormSize size, bool accumulate) {
  CAPTURE(size.rows, size.hidden, accumulate);
  const size_t count = size.rows * size.hidden;
  const auto s = random_values<T>(count, 9, 2.0, 0.5), dy = random_values<T>(count, 10);
  const auto before_w = random_values<Grad>(size.hidden, 11), before_b = random_values<Grad>(size.hidden, 12);
  const auto sd = to_doubles(s), gd = to_doubles(dy);
  const Moments m = moments_of(sd, size);
  std::vector<double> dw(size.hidden, 0), db(size.hidden, 0);
  for (size_t i = 0; i < count; ++i) {
    dw[i % size.hidden] += gd[i] * (sd[i] - m.mean[i / size.hidden]) * m.rstd[i / size.hidden];
    db[i % size.hidden] += gd[i];
  }
  if (accumulate) {
    for (int64_t h = 0; h < size.hidden; ++h) {
      dw[h] += static_cast<double>(static_cast<float>(before_w[h]));
      db[h] += static_cast<double>(static_cast<float>(before_b[h]));
    }
  }
  Array<T> s_in(device, s), dy_in(device, dy);
  Array<float> mean(device, {m.mean.begin(), m.mean.end()}), rstd(device, {m.rstd.begin(), m.rstd.end()});
  const auto run = [&](bool weight, bool bias) {
    Array<Grad> out_w = accumulate ? Array<Grad>(device, before_w) : Array<Grad>(device, size.hidden);
    Array<Grad> out_b = accumulate ? Array<Grad>(device, before_b) : Array<Grad>(device, size.hidden);
    Array<float> scratch(device, norm_scratch_floats(size.hidden));
    NEMO_LAUNCH(device, layer_norm_backward_weight, weight ? out_w.data() : static_cast<Grad*>(nullptr), accumulate,
                bias ? out_b.data() : static_cast<Grad*>(nullptr), accumulate, dy_in.data(), s_in.data(), mean.data(), rstd.data(), size,
                scratch.data());
    scratch.values();  // looks at the guard
    if (weight) check_close<Grad>(out_w.values(), dw);
    if (bias) check_close<Grad>(out_b.values(), db);
    return weight ? out_w.values() : out_b.values();
  };
  const auto both = run(true, true);
  CHECK(same_bits(both, run(true, false)));
  run(false, true);
  if (!device.is_cuda()) check_same_bits_for_any_thread_count([&] { return run(true, true); });
}

const LayerNormSize kSizes[] = {{1, 1}, {3, 7}, {5, 128}, {70, 37}, {130, 260}, {9, 769}, {2, 4100}};

void forward(const TestDevice& device) {
  for (const LayerNormSize& size : kSizes)
    for (const bool with_branch : {false, true}) {
      check_forward<float>(device, size, with_branch);
      check_forward<bf16>(device, size, with_branch);
    }
}

void backward_input(const TestDevice& device) {
  for (const LayerNormSize& size : kSizes) {
    if (size.hidden == 1) continue;  // the gradient is exactly zero there, and only rounding is left
    for (const bool with_dsum : {false, true}) {
      check_backward_input<float>(device, size, with_dsum);
      check_backward_input<bf16>(device, size, with_dsum);
    }
  }
}

void backward_weight(const TestDevice& device) {
  for (const LayerNormSize& size : {LayerNormSize{3, 7}, {70, 37}, {300, 128}, {1000, 33}, {17000, 5}})
    for (const bool accumulate : {false, true}) {
      check_backward_weight<float, float>(device, size, accumulate);
      check_backward_weight<bf16, float>(device, size, accumulate);
      check_backward_weight<bf16, bf16>(device, size, accumulate);
    }
}

}  // namespace

NEMO_KERNEL_TEST("layer_norm forward follows the formula", "[layer_norm]", forward)
NEMO_KERNEL_TEST("layer_norm backward for the input follows the formula", "[layer_norm]", backward_input)
NEMO_KERNEL_TEST("layer_norm backward for weight and bias sums over rows", "[layer_norm]", backward_weight)
