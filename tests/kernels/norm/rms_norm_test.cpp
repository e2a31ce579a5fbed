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

// Input gradient, weight gradient and both at once: each against fp64, and the same bits alone as together.
template <class T, class Grad>
void check_backward(const TestDevice& device, const Layout& layout, bool with_dsum, bool accumulate) {
  CAPTURE(layout.tokens, layout.heads, layout.hidden, layout.stride, with_dsum, accumulate, name(dtype_of<T>), name(dtype_of<Grad>));
  const auto s = random_values<T>(layout.count(), 5, 2.0), dy = random_values<T>(layout.count(), 6), dsum = random_values<T>(layout.count(), 7);
  const auto weight = random_values<T>(layout.hidden, 8, 0.2, 1.0), before = random_values<T>(layout.count(), 9);
  const auto before_weight = random_values<Grad>(layout.hidden, 10);
  const auto sd = to_doubles(s), gd = to_doubles(dy), rd = to_doubles(dsum), wd = to_doubles(weight), scale = rstd_of(sd, layout);
  std::vector<double> expected, expected_weight(layout.hidden, 0);
  for (int64_t h = 0; h < layout.hidden && accumulate; ++h) expected_weight[h] = static_cast<double>(static_cast<float>(before_weight[h]));
  for (int64_t r = 0; r < layout.rows(); ++r) {
    double projection = 0;
    for (int64_t h = 0; h < layout.hidden; ++h)
      projection += wd[h] * gd[layout.at(r, h)] * sd[layout.at(r, h)] * scale[r] / layout.hidden;
    for (int64_t h = 0; h < layout.hidden; ++h) {
      const size_t i = layout.at(r, h);
      expected.push_back(scale[r] * (wd[h] * gd[i] - sd[i] * scale[r] * projection) + (with_dsum ? rd[i] : 0));
      expected_weight[h] += gd[i] * sd[i] * scale[r];
    }
  }
  Array<T> s_in(device, s), w(device, weight);
  Array<float> rstd(device, {scale.begin(), scale.end()});
  struct Result { std::vector<T> dx; std::vector<Grad> dweight; };
  enum class Over { nothing, dy, dsum };
  const auto run = [&](bool input, bool weighted, Over over) -> Result {
    Array<T> dy_in(device, dy), dsum_in(device, dsum), dx(device, before);
    Array<T>& out = over == Over::dy ? dy_in : over == Over::dsum ? dsum_in : dx;
    Array<Grad> dweight = accumulate ? Array<Grad>(device, before_weight) : Array<Grad>(device, layout.hidden);
    Array<float> scratch(device, norm_scratch_floats(layout.hidden, 1));
    NEMO_LAUNCH(device, rms_norm_backward, input ? out.data() : static_cast<T*>(nullptr), weighted ? dweight.data() : static_cast<Grad*>(nullptr), accumulate, dy_in.data(),
                with_dsum ? dsum_in.data() : static_cast<T*>(nullptr), s_in.data(), rstd.data(), w.data(), layout.size(), weighted ? scratch.data() : static_cast<float*>(nullptr));
    scratch.values();  // looks at the guard
    return {input ? rows_of(out.values(), over == Over::dy ? dy : over == Over::dsum ? dsum : before, layout) : std::vector<T>(), weighted ? dweight.values() : std::vector<Grad>()};
  };
  const Result both = run(true, true, Over::nothing);
  if (layout.hidden > 1) check_close<T>(both.dx, expected);  // of one element the gradient is nearly zero, and only rounding is left
  check_close<Grad>(both.dweight, expected_weight);
  CHECK(same_bits(run(true, false, Over::nothing).dx, both.dx));
  CHECK(same_bits(run(false, true, Over::nothing).dweight, both.dweight));
  const Result in_place = run(true, true, with_dsum ? Over::dsum : Over::dy);
  CHECK(same_bits(in_place.dx, both.dx));
  CHECK(same_bits(in_place.dweight, both.dweight));
  if (!device.is_cuda()) check_same_bits_for_any_thread_count([&] { return run(true, true, Over::nothing).dweight; });
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

void backward(const TestDevice& device) {
  for (const Layout& layout : kLayouts)
    for (const bool with_dsum : {false, true}) {
      check_backward<float, float>(device, layout, with_dsum, !with_dsum);
      check_backward<bf16, float>(device, layout, with_dsum, !with_dsum);
      check_backward<bf16, bf16>(device, layout, with_dsum, with_dsum);
    }
}

// More rows than any device holds blocks for, so that each block walks several.
void backward_of_many_rows(const TestDevice& device) {
  for (const Layout& layout : {Layout{300, 1, 128, 128}, {1000, 1, 33, 33}, {17000, 1, 5, 5}, {1500, 4, 32, 256}, {1301, 1, 768, 768}, {900, 1, 2048, 2048}, {600, 1, 2304, 2304}})
    for (const bool accumulate : {false, true}) {
      check_backward<float, float>(device, layout, accumulate, accumulate);
      check_backward<bf16, bf16>(device, layout, !accumulate, accumulate);
    }
}

}  // namespace

NEMO_KERNEL_TEST("rms_norm forward follows the formula, also per head in a packed projection", "[rms_norm]", forward)
NEMO_KERNEL_TEST("rms_norm backward follows the formula, each gradient alone as together", "[rms_norm]", backward)
NEMO_KERNEL_TEST("rms_norm backward sums over many rows", "[rms_norm]", backward_of_many_rows)
