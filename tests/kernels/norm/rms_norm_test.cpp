#include "kernels/norm/rms_norm.h"

#include "tests/kernels/device_array.h"
#include "tests/kernels/threads.h"

using namespace nemo;
using namespace nemo::kernels;
using namespace nemo::testing;

namespace {

constexpr float kEps = 1e-6f;

// Tokens of `heads` rows, at a stride with room between tokens; the same for every operand unless a test says otherwise.
struct Layout {
  int64_t tokens, heads, hidden, stride;
  int64_t rows() const { return tokens * heads; }
  size_t count() const { return static_cast<size_t>((tokens - 1) * stride + heads * hidden); }
  size_t at(int64_t row, int64_t h) const { return static_cast<size_t>(row / heads * stride + row % heads * hidden + h); }
  bool used(size_t i) const { return static_cast<int64_t>(i) % stride < heads * hidden; }
  RmsNormSize size() const { return {rows(), hidden, heads, stride, stride, stride, stride}; }
};

std::vector<double> rstd_of(const std::vector<double>& s, const Layout& layout) {
  std::vector<double> rstd;
  for (int64_t r = 0; r < layout.rows(); ++r) {
    double square = 0;
    for (int64_t h = 0; h < layout.hidden; ++h) square += s[layout.at(r, h)] * s[layout.at(r, h)];
    rstd.push_back(1 / std::sqrt(square / layout.hidden + static_cast<double>(kEps)));
  }
  return rstd;
}

// Only the rows of the layout; what lies between tokens must still be `before`.
template <class T>
std::vector<T> rows_of(const std::vector<T>& values, const std::vector<T>& before, const Layout& layout) {
  std::vector<T> rows;
  bool gaps_kept = true;
  for (size_t i = 0; i < values.size(); ++i) {
    if (layout.used(i)) rows.push_back(values[i]);
    else gaps_kept = gaps_kept && std::memcmp(&values[i], &before[i], sizeof(T)) == 0;
  }
  CHECK(gaps_kept);
  return rows;
}

template <class T>
void check_forward(const TestDevice& device, const Layout& layout, bool with_branch) {
  CAPTURE(layout.tokens, layout.heads, layout.hidden, layout.stride, with_branch);
  const auto x = random_values<T>(layout.count(), 1, 2.0), branch = random_values<T>(layout.count(), 2);
  const auto weight = random_values<T>(layout.hidden, 3, 0.2, 1.0), before = random_values<T>(layout.count(), 4);
  Array<T> x_in(device, x), branch_in(device, branch), w(device, weight), y(device, before);
  Array<float> rstd(device, layout.rows());
  NEMO_LAUNCH(device, rms_norm_forward, y.data(), with_branch ? x_in.data() : static_cast<T*>(nullptr), rstd.data(), x_in.data(),
              with_branch ? branch_in.data() : static_cast<T*>(nullptr), w.data(), layout.size(), kEps);
  std::vector<T> s = x;
  for (size_t i = 0; i < s.size() && with_branch; ++i)
    if (layout.used(i)) s[i] = static_cast<T>(static_cast<float>(x[i]) + static_cast<float>(branch[i]));
  const auto scale = rstd_of(to_doubles(s), layout);
  std::vector<double> expected;
  for (int64_t r = 0; r < layout.rows(); ++r)
    for (int64_t h = 0; h < layout.hidden; ++h)
      expected.push_back(static_cast<double>(static_cast<float>(s[layout.at(r, h)])) * scale[r] * static_cast<float>(weight[h]));
  check_close<T>(rows_of(y.values(), before, layout), expected);
  check_close<float>(rstd.values(), scale);
  CHECK(same_bits(x_in.values(), s));
}

template <class T>
void check_backward_input(const TestDevice& device, const Layout& layout, bool with_dsum) {
  CAPTURE(layout.tokens, layout.heads, layout.hidden, layout.stride, with_dsum);
  const auto s = random_values<T>(layout.count(), 5, 2.0), dy = random_values<T>(layout.count(), 6), dsum = random_values<T>(layout.count(), 7);
  const auto weight = random_values<T>(layout.hidden, 8, 0.2, 1.0), before = random_values<T>(layout.count(), 9);
  const auto sd = to_doubles(s), gd = to_doubles(dy), rd = to_doubles(dsum), wd = to_doubles(weight), scale = rstd_of(sd, layout);
  std::vector<double> expected;
  for (int64_t r = 0; r < layout.rows(); ++r) {
    double projection = 0;
    for (int64_t h = 0; h < layout.hidden; ++h)
      projection += wd[h] * gd[layout.at(r, h)] * sd[layout.at(r, h)] * scale[r] / layout.hidden;
    for (int64_t h = 0; h < layout.hidden; ++h) {
      const size_t i = layout.at(r, h);
      expected.push_back(scale[r] * (wd[h] * gd[i] - sd[i] * scale[r] * projection) + (with_dsum ? rd[i] : 0));
    }
  }
  Array<T> s_in(device, s), dy_in(device, dy), dsum_in(device, dsum), w(device, weight), dx(device, before);
  Array<float> rstd(device, {scale.begin(), scale.end()});
  const auto launch = [&](T* out) {
    NEMO_LAUNCH(device, rms_norm_backward_input, out, dy_in.data(), with_dsum ? dsum_in.data() : static_cast<T*>(nullptr), s_in.data(),
                rstd.data(), w.data(), layout.size());
  };
  launch(dx.data());
  check_close<T>(rows_of(dx.values(), before, layout), expected);
  Array<T>& in_place = with_dsum ? dsum_in : dy_in;
  launch(in_place.data());
  check_close<T>(rows_of(in_place.values(), with_dsum ? dsum : dy, layout), expected);
}

template <class T, class Grad>
void check_backward_weight(const TestDevice& device, const Layout& layout, bool accumulate) {
  CAPTURE(layout.tokens, layout.heads, layout.hidden, layout.stride, accumulate);
  const auto s = random_values<T>(layout.count(), 10, 2.0), dy = random_values<T>(layout.count(), 11);
  const auto before = random_values<Grad>(layout.hidden, 12);
  const auto sd = to_doubles(s), gd = to_doubles(dy), scale = rstd_of(sd, layout);
  std::vector<double> expected(layout.hidden, 0);
  for (int64_t h = 0; h < layout.hidden; ++h) {
    if (accumulate) expected[h] = static_cast<double>(static_cast<float>(before[h]));
    for (int64_t r = 0; r < layout.rows(); ++r) expected[h] += gd[layout.at(r, h)] * sd[layout.at(r, h)] * scale[r];
  }
  Array<T> s_in(device, s), dy_in(device, dy);
  Array<float> rstd(device, {scale.begin(), scale.end()});
  const auto run = [&] {
    Array<Grad> dweight = accumulate ? Array<Grad>(device, before) : Array<Grad>(device, layout.hidden);
    Array<float> scratch(device, norm_scratch_floats(layout.hidden));
    NEMO_LAUNCH(device, rms_norm_backward_weight, dweight.data(), accumulate, dy_in.data(), s_in.data(), rstd.data(), layout.size(),
                scratch.data());
    scratch.values();  // looks at the guard
    return dweight.values();
  };
  check_close<Grad>(run(), expected);
  if (!device.is_cuda()) check_same_bits_for_any_thread_count(run);
}

const Layout kLayouts[] = {{1, 1, 1, 1},     {3, 1, 7, 7},    {5, 1, 128, 128},  {70, 1, 37, 37},     {9, 1, 769, 769},
                           {2, 1, 4100, 4100}, {11, 3, 16, 64}, {19, 4, 64, 1024}, {33, 2, 128, 512}};

void forward(const TestDevice& device) {
  for (const Layout& layout : kLayouts)
    for (const bool with_branch : {false, true}) {
      check_forward<float>(device, layout, with_branch);
      check_forward<bf16>(device, layout, with_branch);
    }
}

void backward_input(const TestDevice& device) {
  for (const Layout& layout : kLayouts) {
    if (layout.hidden == 1) continue;  // the gradient is nearly zero there, and only rounding is left
    for (const bool with_dsum : {false, true}) {
      check_backward_input<float>(device, layout, with_dsum);
      check_backward_input<bf16>(device, layout, with_dsum);
    }
  }
}

void backward_weight(const TestDevice& device) {
  for (const Layout& layout : {Layout{3, 1, 7, 7}, {300, 1, 128, 128}, {1000, 1, 33, 33}, {17000, 1, 5, 5}, {150, 4, 32, 256}})
    for (const bool accumulate : {false, true}) {
      check_backward_weight<float, float>(device, layout, accumulate);
      check_backward_weight<bf16, float>(device, layout, accumulate);
      check_backward_weight<bf16, bf16>(device, layout, accumulate);
    }
}

}  // namespace

NEMO_KERNEL_TEST("rms_norm forward follows the formula, also per head in a packed projection", "[rms_norm]", forward)
NEMO_KERNEL_TEST("rms_norm backward for the input follows the formula", "[rms_norm]", backward_input)
NEMO_KERNEL_TEST("rms_norm backward for the weight sums over rows", "[rms_norm]", backward_weight)
