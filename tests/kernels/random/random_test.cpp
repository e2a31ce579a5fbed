#include "kernels/random/random.h"

#include "tests/kernels/device_array.h"

using namespace nemo;
using namespace nemo::kernels;
using namespace nemo::testing;

namespace {

template <class T>
void check_slice(const TestDevice& device) {
  const RandomKey key{1234, 99};
  const SliceShape shape{.rows = 13, .columns = 37, .row0 = 5, .column0 = 11, .global_columns = 101};
  std::vector<double> normal, flat;
  for (int64_t r = 0; r < shape.rows; ++r)
    for (int64_t c = 0; c < shape.columns; ++c) {
      const Philox4 draw = philox(key, 0, (shape.row0 + r) * shape.global_columns + shape.column0 + c);
      const double u = static_cast<double>(uniform(draw.x)), turn = static_cast<double>(uniform(draw.y));
      normal.push_back(0.5 + 2.0 * std::sqrt(-2 * std::log(1 - u)) * std::cos(2 * M_PI * turn));
      flat.push_back(-1.0 + 4.0 * u);
    }
  Array<T> x(device, normal.size());
  NEMO_LAUNCH(device, fill_normal, x.data(), key, 0.5f, 2.0f, shape);
  check_close<T>(x.values(), normal);
  NEMO_LAUNCH(device, fill_uniform, x.data(), key, -1.0f, 3.0f, shape);
  check_close<T>(x.values(), flat);
  NEMO_LAUNCH(device, fill_constant, x.data(), 0.75f, static_cast<int64_t>(x.size()));
  CHECK(to_doubles(x.values()) == std::vector<double>(x.size(), 0.75));
}

void slices(const TestDevice& device) {
  check_slice<float>(device);
  check_slice<bf16>(device);
}

void cut_draws_the_same(const TestDevice& device) {
  const RandomKey key{3, 4};
  Array<float> whole(device, 6 * 20), part(device, 3 * 8);
  NEMO_LAUNCH(device, fill_normal, whole.data(), key, 0.0f, 1.0f, SliceShape{.rows = 6, .columns = 20, .global_columns = 20});
  NEMO_LAUNCH(device, fill_normal, part.data(), key, 0.0f, 1.0f,
              SliceShape{.rows = 3, .columns = 8, .row0 = 2, .column0 = 7, .global_columns = 20});
  const auto all = whole.values(), some = part.values();
  bool same = true;
  for (int64_t r = 0; r < 3; ++r)
    for (int64_t c = 0; c < 8; ++c) same = same && some[r * 8 + c] == all[(r + 2) * 20 + c + 7];
  CHECK(same);
}

void moments(const TestDevice& device) {
  constexpr int64_t kCount = 200000;
  Array<float> x(device, kCount);
  NEMO_LAUNCH(device, fill_normal, x.data(), (RandomKey{5, 6}), 0.0f, 1.0f, SliceShape{.rows = 400, .columns = 500, .global_columns = 500});
  double mean = 0, square = 0, fourth = 0;
  for (const float value : x.values()) {
    const double v = value;
    mean += v / kCount, square += v * v / kCount, fourth += v * v * v * v / kCount;
  }
  const double sigma = 1 / std::sqrt(static_cast<double>(kCount));
  CHECK(mean == Approx(0).margin(5 * sigma));
  CHECK(square == Approx(1).margin(5 * std::sqrt(2.0) * sigma));
  CHECK(fourth == Approx(3).margin(5 * std::sqrt(96.0) * sigma));
}

}  // namespace

NEMO_KERNEL_TEST("fills draw each element by its global index", "[random]", slices)
NEMO_KERNEL_TEST("a slice draws what the whole draws there", "[random]", cut_draws_the_same)
NEMO_KERNEL_TEST("fill_normal has the moments of a normal distribution", "[random]", moments)
