#include "kernels/base/fp8.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

using namespace nemo;

namespace {

struct Code {
  double value;
  uint8_t bits;
};

// The finite numbers of a format from the definition, in rising order: sign aside, (fraction / 2^F or 1 + that) * 2^(e
// - bias).
std::vector<Code> positive_codes(int fraction_bits, int bias, uint8_t largest) {
  std::vector<Code> codes;
  for (int bits = 0; bits <= largest; ++bits) {
    const int exponent = bits >> fraction_bits, fraction = bits & ((1 << fraction_bits) - 1);
    const double significand = static_cast<double>(fraction) / (1 << fraction_bits) + (exponent == 0 ? 0 : 1);
    codes.push_back({std::ldexp(significand, std::max(exponent, 1) - bias), static_cast<uint8_t>(bits)});
  }
  return codes;
}

// The nearest code by search; of two equally near the even one; beyond the largest the largest.
uint8_t nearest(const std::vector<Code>& codes, float value) {
  const double magnitude = std::min(std::fabs(static_cast<double>(value)), codes.back().value);
  Code best = codes.front();
  for (const Code& code : codes) {
    const double ours = std::fabs(code.value - magnitude), theirs = std::fabs(best.value - magnitude);
    if (ours < theirs || (ours == theirs && code.bits % 2 == 0)) best = code;
  }
  return static_cast<uint8_t>(best.bits | (std::signbit(value) ? 0x80 : 0));
}

template <class Float>
void check_format(const std::vector<Code>& codes) {
  for (const Code& code : codes)
    for (const int sign : {0, 0x80}) {
      Float narrow;
      narrow.bits = static_cast<uint8_t>(code.bits | sign);
      const float wide = narrow;
      CHECK(wide == static_cast<float>(sign != 0 ? -code.value : code.value));
      CHECK(std::signbit(wide) == (sign != 0));
      CHECK(Float(wide).bits == narrow.bits);
    }
  std::vector<float> values = {0.0f,      -0.0f,    std::numeric_limits<float>::max(),
                               -INFINITY, INFINITY, std::numeric_limits<float>::denorm_min()};
  for (size_t i = 0; i + 1 < codes.size(); ++i) {  // every tie and what lies beside it
    const float tie = static_cast<float>((codes[i].value + codes[i + 1].value) / 2);
    for (const float value : {tie, std::nextafter(tie, 0.0f), std::nextafter(tie, INFINITY)})
      values.insert(values.end(), {value, -value});
  }
  const float largest = static_cast<float>(codes.back().value);
  values.insert(values.end(), {largest * 1.01f, largest * 1.0625f, -2 * largest});
  std::mt19937 engine(3);
  for (int i = 0; i < 4000; ++i)
    values.push_back(std::ldexp(std::uniform_real_distribution<float>(-2, 2)(engine),
                                std::uniform_int_distribution<int>(-20, 17)(engine)));
  size_t wrong = 0;
  for (const float value : values) wrong += Float(value).bits != nearest(codes, value);
  CHECK(wrong == 0);
  CHECK(std::isnan(static_cast<float>(Float(NAN))));
  CHECK(std::isnan(static_cast<float>(Float(-NAN))));
}

template <class Float>
void check_scales(float largest) {
  std::mt19937 engine(5);
  std::vector<float> amaxes = {largest,
                               std::nextafter(largest, INFINITY),
                               std::nextafter(largest, 0.0f),
                               1.0f,
                               1.75f,
                               std::nextafter(1.75f, 2.0f),
                               2.0f,
                               std::numeric_limits<float>::max(),
                               std::numeric_limits<float>::min(),
                               std::numeric_limits<float>::denorm_min()};
  for (int i = 0; i < 500; ++i)
    amaxes.push_back(std::ldexp(std::uniform_real_distribution<float>(1, 2)(engine),
                                std::uniform_int_distribution<int>(-126, 126)(engine)));
  for (const float amax : amaxes) {
    const Fp8Scale scale = fp8_scale<Float>(amax);
    int exponent = 0;
    CAPTURE(amax, scale.multiplier);
    CHECK(std::frexp(scale.multiplier, &exponent) == 0.5f);  // a power of two
    CHECK(scale.multiplier * scale.scale == 1.0f);
    CHECK(std::isnormal(scale.scale));
    const double scaled = static_cast<double>(amax) * scale.multiplier;
    CHECK(scaled <= largest);
    CHECK((2 * scaled > largest || exponent == 127));  // the next one would be too large, or has no inverse
  }
  CHECK(fp8_scale<Float>(0.0f).multiplier == 1.0f);
  CHECK(fp8_scale<Float>(0.0f).scale == 1.0f);
  CHECK(std::isnan(fp8_scale<Float>(INFINITY).scale));
  CHECK(std::isnan(fp8_scale<Float>(NAN).scale));
}

}  // namespace

TEST_CASE("8-bit floats round to the nearest of their table", "[kernels][fp8]") {
  const std::vector<Code> e4m3 = positive_codes(3, 7, 0x7e), e5m2 = positive_codes(2, 15, 0x7b);
  REQUIRE(e4m3.back().value == 448);
  REQUIRE(e5m2.back().value == 57344);
  check_format<fp8_e4m3>(e4m3);
  check_format<fp8_e5m2>(e5m2);
  fp8_e5m2 infinite;
  infinite.bits = 0xfc;
  CHECK(static_cast<float>(infinite) == -INFINITY);
}

TEST_CASE("an fp8 scale is the largest power of two that fits", "[kernels][fp8]") {
  check_scales<fp8_e4m3>(448);
  check_scales<fp8_e5m2>(57344);
}
