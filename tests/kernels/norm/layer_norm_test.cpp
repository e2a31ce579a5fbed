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

// Gradients of input, weight and bias: each against fp64, and the same bits whichever others are formed beside it.
template <class T, class Grad>
void check_backward(const TestDevice& device, LayerNormSize size, bool with_dsum, bool accumulate) {
  CAPTURE(size.rows, size.hidden, with_dsum, accumulate, name(dtype_of<T>), name(dtype_of<Grad>));
  const size_t count = size.rows * size.hidden;
  const auto s = random_values<T>(count, 5, 2.0, 0.5), dy = random_values<T>(count, 6), dsum = random_values<T>(count, 7);
  const auto weight = random_values<T>(size.hidden, 8, 0.2, 1.0);
  const auto before_w = random_values<Grad>(size.hidden, 11), before_b = random_values<Grad>(size.hidden, 12);
  const auto sd = to_doubles(s), gd = to_doubles(dy), rd = to_doubles(dsum), wd = to_doubles(weight);
  const Moments m = moments_of(sd, size);
  std::vector<double> expected(count), dw(size.hidden, 0), db(size.hidden, 0);
  for (int64_t h = 0; h < size.hidden && accumulate; ++h) {
    dw[h] = static_cast<double>(static_cast<float>(before_w[h]));
    db[h] = static_cast<double>(static_cast<float>(before_b[h]));
  }
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
      dw[h] += gd[i] * shat(h);
      db[h] += gd[i];
    }
  }
  Array<T> s_in(device, s), w(device, weight);
  Array<float> mean(device, {m.mean.begin(), m.mean.end()}), rstd(device, {m.rstd.begin(), m.rstd.end()});
  struct Result { std::vector<T> dx; std::vector<Grad> dweight, dbias; };
  enum class Over { nothing, dy, dsum };
  const auto run = [&](bool input, bool weighted, bool biased, Over over) -> Result {
    Array<T> dy_in(device, dy), dsum_in(device, dsum), dx(device, count);
    Array<T>& out = over == Over::dy ? dy_in : over == Over::dsum ? dsum_in : dx;
    Array<Grad> out_w = accumulate ? Array<Grad>(device, before_w) : Array<Grad>(device, size.hidden);
    Array<Grad> out_b = accumulate ? Array<Grad>(device, before_b) : Array<Grad>(device, size.hidden);
    Array<float> scratch(device, norm_scratch_floats(size.hidden, 2));
    NEMO_LAUNCH(device, layer_norm_backward, input ? out.data() : static_cast<T*>(nullptr), weighted ? out_w.data() : static_cast<Grad*>(nullptr), accumulate,
                biased ? out_b.data() : static_cast<Grad*>(nullptr), accumulate, dy_in.data(), with_dsum ? dsum_in.data() : static_cast<T*>(nullptr), s_in.data(), mean.data(),
                rstd.data(), w.data(), size, scratch.data());
    scratch.values();  // looks at the guard
    return {input ? out.values() : std::vector<T>(), weighted ? out_w.values() : std::vector<Grad>(), biased ? out_b.values() : std::vector<Grad>()};
  };
  const Result all = run(true, true, true, Over::nothing);
  if (size.hidden > 1) check_close<T>(all.dx, expected);  // of one element the gradient is exactly zero, and only rounding is left
  if (size.hidden > 1) check_close<Grad>(all.dweight, dw);
  check_close<Grad>(all.dbias, db);
  CHECK(same_bits(run(true, false, false, Over::nothing).dx, all.dx));
  CHECK(same_bits(run(false, true, false, Over::nothing).dweight, all.dweight));
  CHECK(same_bits(run(true, false, true, Over::nothing).dbias, all.dbias));
  const Result in_place = run(true, true, true, with_dsum ? Over::dsum : Over::dy);
  CHECK(same_bits(in_place.dx, all.dx));
  CHECK(same_bits(in_place.dweight, all.dweight));
  CHECK(same_bits(in_place.dbias, all.dbias));
  if (!device.is_cuda()) check_same_bits_for_any_thread_count([&] { return run(true, true, true, Over::nothing).dweight; });
}

const LayerNormSize kSizes[] = {{1, 1}, {3, 7}, {5, 128}, {70, 37}, {130, 260}, {9, 769}, {2, 4100}};

void forward(const TestDevice& device) {
  for (const LayerNormSize& size : kSizes)
    for (const bool with_branch : {false, true}) {
      check_forward<float>(device, size, with_branch);
      check_forward<bf16>(device, size, with_branch);
    }
}

void backward(const TestDevice& device) {
  for (const LayerNormSize& size : kSizes)
    for (const bool with_dsum : {false, true}) {
      check_backward<float, float>(device, size, with_dsum, !with_dsum);
      check_backward<bf16, float>(device, size, with_dsum, !with_dsum);
      check_backward<bf16, bf16>(device, size, with_dsum, with_dsum);
    }
}

// More rows than any device holds blocks for, so that each block walks several.
void backward_of_many_rows(const TestDevice& device) {
  for (const LayerNormSize& size : {LayerNormSize{300, 128}, {1000, 33}, {17000, 5}, {1301, 768}, {900, 2048}, {600, 2304}})
    for (const bool accumulate : {false, true}) {
      check_backward<float, float>(device, size, accumulate, accumulate);
      check_backward<bf16, bf16>(device, size, !accumulate, accumulate);
    }
}

}  // namespace

NEMO_KERNEL_TEST("layer_norm forward follows the formula", "[layer_norm]", forward)
NEMO_KERNEL_TEST("layer_norm backward follows the formula, each gradient alone as together", "[layer_norm]", backward)
NEMO_KERNEL_TEST("layer_norm backward sums over many rows", "[layer_norm]", backward_of_many_rows)
