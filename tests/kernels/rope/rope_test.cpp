#include "kernels/rope/rope.h"

#include "tests/kernels/device_array.h"

using namespace nemo;
using namespace nemo::kernels;
using namespace nemo::testing;

namespace {

// q and k as slices of one packed projection: q first, then k, then room for v.
template <class T>
void check(const TestDevice& device, int64_t tokens, int64_t q_heads, int64_t k_heads, int64_t head_size, int64_t rotary_size, bool inverse) {
  CAPTURE(tokens, q_heads, k_heads, head_size, rotary_size, inverse, name(dtype_of<T>));
  constexpr int64_t kMaxPositions = 50;
  const int64_t half = rotary_size / 2, heads = q_heads + k_heads, stride = (heads + k_heads) * head_size;
  std::vector<float> cosines, sines;
  for (int64_t p = 0; p < kMaxPositions; ++p)
    for (int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(p) * std::pow(10000.0, -2.0 * i / rotary_size);
      cosines.push_back(static_cast<float>(std::cos(angle)));
      sines.push_back(static_cast<float>(std::sin(angle)));
    }
  std::vector<int32_t> positions;
  for (int64_t t = 0; t < tokens; ++t) positions.push_back(static_cast<int32_t>((t * 7 + 3) % kMaxPositions));
  const auto x = random_values<T>(tokens * stride, 1);
  std::vector<double> expected = to_doubles(x);
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t head = 0; head < heads; ++head)
      for (int64_t i = 0; i < half; ++i) {
        double& a = expected[t * stride + head * head_size + i];
        double& b = expected[t * stride + head * head_size + half + i];
        const double c = cosines[positions[t] * half + i], s = (inverse ? -1.0 : 1.0) * sines[positions[t] * half + i];
        const double turned_a = a * c - b * s, turned_b = b * c + a * s;
        a = turned_a, b = turned_b;
      }
  Array<T> x_in(device, x);
  Array<int32_t> positions_in(device, positions);
  Array<float> cos_in(device, cosines), sin_in(device, sines);
  const RopeShape shape{tokens, q_heads, k_heads, head_size, rotary_size, stride, stride, inverse};
  NEMO_LAUNCH(device, rope, x_in.data(), x_in.data() + q_heads * head_size, positions_in.data(), cos_in.data(), sin_in.data(), shape);
  const auto turned = x_in.values();
  check_close<T>(turned, expected);
  bool rest_kept = true;  // what is not rotated, and what lies between tokens
  for (size_t i = 0; i < x.size(); ++i) {
    const int64_t in_token = static_cast<int64_t>(i) % stride;
    if (in_token >= heads * head_size || in_token % head_size >= rotary_size)
      rest_kept = rest_kept && std::memcmp(&turned[i], &x[i], sizeof(T)) == 0;
  }
  CHECK(rest_kept);
}

void rotation(const TestDevice& device) {
  struct Case { int64_t tokens, q_heads, k_heads, head_size, rotary_size; };
  for (const bool inverse : {false, true})
    for (const Case& c : {Case{1, 1, 1, 2, 2}, {5, 3, 1, 8, 8}, {33, 4, 4, 64, 64}, {17, 2, 1, 80, 20}, {300, 2, 2, 128, 128}, {40, 32, 8, 64, 64}}) {
      check<float>(device, c.tokens, c.q_heads, c.k_heads, c.head_size, c.rotary_size, inverse);
      check<bf16>(device, c.tokens, c.q_heads, c.k_heads, c.head_size, c.rotary_size, inverse);
    }
}

// q and k may be tensors of their own, each at its stride.
void apart(const TestDevice& device) {
  const auto q = random_values<float>(3 * 16, 2), k = random_values<float>(3 * 24, 3);
  Array<float> q_in(device, q), k_in(device, k), cos(device, std::vector<float>(8, 0.0f)), sin(device, std::vector<float>(8, 1.0f));
  Array<int32_t> positions(device, std::vector<int32_t>{1, 0, 1});
  NEMO_LAUNCH(device, rope, q_in.data(), k_in.data(), positions.data(), cos.data(), sin.data(), RopeShape{3, 2, 1, 8, 8, 16, 24});
  std::vector<float> turned_q = q, turned_k = k;  // by a quarter: (a, b) becomes (-b, a)
  const auto turn = [](std::vector<float>& x, const std::vector<float>& from, size_t first) {
    for (size_t i = 0; i < 4; ++i) x[first + i] = -from[first + 4 + i], x[first + 4 + i] = from[first + i];
  };
  for (size_t t = 0; t < 3; ++t) turn(turned_q, q, t * 16), turn(turned_q, q, t * 16 + 8), turn(turned_k, k, t * 24);
  CHECK(to_doubles(q_in.values()) == to_doubles(turned_q));
  CHECK(to_doubles(k_in.values()) == to_doubles(turned_k));
}

}  // namespace

NEMO_KERNEL_TEST("rope rotates the halves of each head, and back", "[rope]", rotation)
NEMO_KERNEL_TEST("rope rotates q and k that lie apart", "[rope]", apart)
