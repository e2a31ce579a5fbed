#include "kernels/quantise/quantise.h"

#include <array>

#include "tests/kernels/device_array.h"
#include "tests/kernels/threads.h"

using namespace nemo;
using namespace nemo::kernels;
using namespace nemo::testing;

namespace {

// x whose padding between the rows is NaN, which must never be read.
std::vector<bf16> strided_values(QuantiseShape shape, double scale) {
  std::vector<bf16> x = random_values<bf16>(static_cast<size_t>(shape.rows * shape.stride), 1, scale);
  for (int64_t row = 0; row < shape.rows; ++row)
    for (int64_t column = shape.columns; column < shape.stride; ++column) x[row * shape.stride + column] = bf16(NAN);
  return x;
}

template <class Float>
struct Quantised {
  std::vector<float> parts;
  std::vector<Float> payload, transposed;
  float scale;
};

template <class Float>
Quantised<Float> run(const TestDevice& device, const std::vector<bf16>& x, QuantiseShape shape, bool rows,
                     bool columns) {
  Array<bf16> in(device, x);
  Array<float> parts(device, kAmaxParts), scale(device, 1);
  const size_t count = static_cast<size_t>(shape.rows * shape.columns);
  Array<Float> payload(device, count), transposed(device, count);
  NEMO_LAUNCH(device, amax, parts.data(), in.data(), shape);
  NEMO_LAUNCH(device, quantise, rows ? payload.data() : nullptr, columns ? transposed.data() : nullptr, scale.data(),
              in.data(), parts.data(), shape);
  return {parts.values(), rows ? payload.values() : std::vector<Float>(),
          columns ? transposed.values() : std::vector<Float>(), scale.values()[0]};
}

template <class Float>
void check(const TestDevice& device, QuantiseShape shape, double magnitude) {
  CAPTURE(shape.rows, shape.columns, shape.stride, magnitude, name(dtype_of<Float>));
  const std::vector<bf16> x = strided_values(shape, magnitude);
  float amax = 0;
  for (int64_t row = 0; row < shape.rows; ++row)
    for (int64_t column = 0; column < shape.columns; ++column)
      amax = std::max(amax, std::fabs(static_cast<float>(x[row * shape.stride + column])));
  const Fp8Scale expected = fp8_scale<Float>(amax);
  std::vector<Float> rows(static_cast<size_t>(shape.rows * shape.columns)), columns(rows.size());
  for (int64_t row = 0; row < shape.rows; ++row)
    for (int64_t column = 0; column < shape.columns; ++column)
      rows[row * shape.columns + column] = columns[column * shape.rows + row] =
          Float(x[row * shape.stride + column] * expected.multiplier);

  const Quantised<Float> both = run<Float>(device, x, shape, true, true);
  std::vector<float> parts(kAmaxParts);
  for (int64_t i = 0; i < shape.rows * shape.columns; ++i) {
    const float magnitude = std::fabs(static_cast<float>(x[i / shape.columns * shape.stride + i % shape.columns]));
    float& part = parts[static_cast<size_t>(i / kAmaxChunk % kAmaxParts)];
    part = std::max(part, magnitude);
  }
  CHECK(same_bits(both.parts, parts));
  CHECK(both.scale == expected.scale);
  CHECK(same_bits(both.payload, rows));
  CHECK(same_bits(both.transposed, columns));
  CHECK(same_bits(run<Float>(device, x, shape, true, false).payload, rows));
  CHECK(same_bits(run<Float>(device, x, shape, false, true).transposed, columns));
  // The round trip: half a place of the fraction, or half the smallest number.
  double worst = 0;
  for (int64_t row = 0; row < shape.rows; ++row)
    for (int64_t column = 0; column < shape.columns; ++column) {
      const double value = x[row * shape.stride + column],
                   back =
                       static_cast<double>(static_cast<float>(both.payload[row * shape.columns + column])) * both.scale;
      const double smallest = std::ldexp(1.0, -Float::kBias - Float::kFractionBits) * both.scale;
      worst = std::max(worst, std::fabs(value - back) /
                                  std::max(std::fabs(value) * std::ldexp(1.0, -Float::kFractionBits - 1), smallest));
    }
  CHECK(worst <= 1);
}

void matrices(const TestDevice& device) {
  for (const auto& [rows, columns] : {std::array<int64_t, 2>{16, 16},
                                      {16, 48},
                                      {128, 128},
                                      {144, 272},
                                      {400, 16},
                                      {16, 1040},
                                      {272, 528},
                                      {4112, 32}, {1040, 1088}})
    for (const int64_t padding : {0, 32})
      for (const double magnitude : {1e-30, 1e-3, 1.0, 3e5}) {
        check<fp8_e4m3>(device, {rows, columns, columns + padding}, magnitude);
        check<fp8_e5m2>(device, {rows, columns, columns + padding}, magnitude);
      }
}

void special_values(const TestDevice& device) {
  const QuantiseShape shape{48, 80, 80};
  const std::vector<bf16> zeros(static_cast<size_t>(shape.rows * shape.columns), bf16(0.0f));
  const auto of_zeros = run<fp8_e4m3>(device, zeros, shape, true, true);
  CHECK(of_zeros.scale == 1);
  CHECK(same_bits(of_zeros.payload, std::vector<fp8_e4m3>(zeros.size())));
  CHECK(same_bits(of_zeros.transposed, std::vector<fp8_e4m3>(zeros.size())));
  for (const float bad : {INFINITY, -INFINITY, NAN, -NAN})
    for (const size_t place : {size_t{0}, size_t{1743}, zeros.size() - 1}) {
      std::vector<bf16> x = random_values<bf16>(zeros.size(), 2);
      x[place] = bf16(bad);
      CAPTURE(bad, place);
      CHECK(std::isnan(run<fp8_e4m3>(device, x, shape, true, true).scale));
      CHECK(std::isnan(run<fp8_e5m2>(device, x, shape, true, true).scale));
    }
  std::vector<bf16> last = zeros;  // the only element that counts is the last one read
  last.back() = bf16(-448.0f);
  CHECK(run<fp8_e4m3>(device, last, shape, true, true).payload.back().bits == 0xfe);
  if (device.is_cuda()) return;
  const std::vector<bf16> x = random_values<bf16>(zeros.size(), 3);
  check_same_bits_for_any_thread_count([&] { return run<fp8_e5m2>(device, x, shape, true, true).transposed; });
}

}  // namespace

NEMO_KERNEL_TEST("quantising gives the codes of the format, by rows and by columns", "[quantise]", matrices)
NEMO_KERNEL_TEST("quantising zeros and what is not finite", "[quantise]", special_values)
