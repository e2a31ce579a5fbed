#include "kernels/rope/rope.h"

#include "tests/kernels/device_array.h"

using namespace nemo;
using namespace nemo::kernels;
using namespace nemo::testing;

namespace {

template <class T>
void check(const TestDevice& device, const RopeShape& shape) {
  CAPTURE(shape.tokens, shape.heads, shape.head_size, shape.rotary_size, shape.token_stride, shape.inverse);
  constexpr int64_t kMaxPositions = 50;
  const int64_t half = shape.rotary_size / 2;
  std::vector<float> cosines, sines;
  for (int64_t p = 0; p < kMaxPositions; ++p)
    for (int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(p) * std::pow(10000.0, -2.0 * i / shape.rotary_size);
      cosines.push_back(static_cast<float>(std::cos(angle)));
      sines.push_back(static_cast<float>(std::sin(angle)));
    }
  std::vector<int32_t> positions;
  for (int64_t t = 0; t < shape.tokens; ++t) positions.push_back(static_cast<int32_t>((t * 7 + 3) % kMaxPositions));
  const auto x = random_values<T>((shape.tokens - 1) * shape.token_stride + shape.heads * shape.head_size, 1);
  std::vector<double> expected = to_doubles(x);
  for (int64_t t = 0; t < shape.tokens; ++t)
    for (int64_t head = 0; head < shape.heads; ++head)
      for (int64_t i = 0; i < half; ++i) {
        double& a = expected[t * shape.token_stride + head * shape.head_size + i];
        double& b = expected[t * shape.token_stride + head * shape.head_size + half + i];
        const double c = cosines[positions[t] * half + i], s = (shape.inverse ? -1.0 : 1.0) * sines[positions[t] * half + i];
        const double turned_a = a * c - b * s, turned_b = b * c + a * s;
        a = turned_a, b = turned_b;
      }
  Array<T> x_in(device, x);
  Array<int32_t> positions_in(device, positions);
  Array<float> cos_in(device, cosines), sin_in(device, sines);
  NEMO_LAUNCH(device, rope, x_in.data(), positions_in.data(), cos_in.data(), sin_in.data(), shape);
  const auto turned = x_in.values();
  check_close<T>(turned, expected);
  bool rest_kept = true;  // what is not rotated, and what lies between tokens
  for (size_t i = 0; i < x.size(); ++i) {
    const int64_t in_token = static_cast<int64_t>(i) % shape.token_stride;
    if (in_token >= shape.heads * shape.head_size || in_token % shape.head_size >= shape.rotary_size)
      rest_kept = rest_kept && std::memcmp(&turned[i], &x[i], sizeof(T)) == 0;
  }
  CHECK(rest_kept);
}

void rotation(const TestDevice& device) {
  for (const bool inverse : {false, true})
    for (const RopeShape& shape : {RopeShape{1, 1, 2, 2, 2, inverse}, {5, 3, 8, 8, 24, inverse}, {33, 4, 64, 64, 768, inverse},
                                   {17, 2, 80, 20, 480, inverse}, {300, 2, 128, 128, 256, inverse}}) {
      check<float>(device, shape);
      check<bf16>(device, shape);
    }
}

}  // namespace

NEMO_KERNEL_TEST("rope rotates the halves of each head, and back", "[rope]", rotation)
