#include "kernels/base/dtype.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

using nemo::bf16;
using nemo::fp16;

TEST_CASE("bf16 rounds to nearest even", "[kernels][dtype]") {
  CHECK(bf16(1.0f).bits == 0x3f80);
  CHECK(bf16(-2.0f).bits == 0xc000);
  CHECK(bf16(3.14159274f).bits == 0x4049);
  CHECK(bf16(1.0f + 0x1p-8f).bits == 0x3f80);            // a tie: down to even
  CHECK(bf16(1.0f + 3 * 0x1p-8f).bits == 0x3f82);        // a tie: up to even
  CHECK(bf16(1.0f + 0x1p-8f + 0x1p-20f).bits == 0x3f81);  // just over a tie
  CHECK(bf16(std::numeric_limits<float>::max()).bits == 0x7f80);
  CHECK(bf16(INFINITY).bits == 0x7f80);
  CHECK(bf16(-0.0f).bits == 0x8000);
  CHECK(std::isnan(static_cast<float>(bf16(NAN))));
  CHECK(std::isnan(static_cast<float>(bf16(std::bit_cast<float>(0x7f800001u)))));  // a NaN whose high bits are infinity's
}

TEST_CASE("bf16 widens exactly and comes back", "[kernels][dtype]") {
  bool all = true;
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    bf16 value;
    value.bits = static_cast<uint16_t>(bits);
    const float wide = value;
    all = all && std::bit_cast<uint32_t>(wide) == bits << 16 && (std::isnan(wide) || bf16(wide).bits == bits);
  }
  CHECK(all);
}

TEST_CASE("fp16 knows its landmarks", "[kernels][dtype]") {
  CHECK(fp16(1.0f).bits == 0x3c00);
  CHECK(fp16(-2.0f).bits == 0xc000);
  CHECK(fp16(65504.0f).bits == 0x7bff);   // the largest
  CHECK(fp16(65519.0f).bits == 0x7bff);
  CHECK(fp16(65520.0f).bits == 0x7c00);   // halfway to 65536: infinity
  CHECK(fp16(0x1p-14f).bits == 0x0400);   // the smallest normal
  CHECK(fp16(0x1p-24f).bits == 0x0001);   // the smallest subnormal
  CHECK(fp16(0x1p-25f).bits == 0x0000);   // a tie: down to even
  CHECK(fp16(0x1.8p-24f).bits == 0x0002);  // a tie: up to even
  CHECK(fp16(0x1.ffcp-15f).bits == 0x0400);  // rounds up into the normals
  CHECK(fp16(1.0f + 0x1p-11f).bits == 0x3c00);
  CHECK(fp16(1.0f + 3 * 0x1p-11f).bits == 0x3c02);
  CHECK(fp16(-INFINITY).bits == 0xfc00);
  CHECK(std::isnan(static_cast<float>(fp16(NAN))));
}

TEST_CASE("fp16 widens exactly and comes back", "[kernels][dtype]") {
  bool all = true;
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    fp16 value;
    value.bits = static_cast<uint16_t>(bits);
    const int exponent = static_cast<int>(bits >> 10) & 31, fraction = static_cast<int>(bits) & 1023;
    const float wide = value;
    if (exponent == 31) {
      all = all && (fraction != 0 ? std::isnan(wide) : std::isinf(wide));
    } else {
      const double magnitude = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
      all = all && wide == ((bits & 0x8000) != 0 ? -magnitude : magnitude);
    }
    all = all && (std::isnan(wide) || fp16(wide).bits == bits);
  }
  CHECK(all);
}

TEST_CASE("dtypes know their size and name", "[kernels][dtype]") {
  CHECK(nemo::size_bytes(nemo::DType::bf16) == 2);
  CHECK(nemo::size_bytes(nemo::DType::int64) == 8);
  CHECK(nemo::size_bytes(nemo::DType::boolean) == 1);
  CHECK(nemo::name(nemo::DType::fp32) == "fp32");
  CHECK(nemo::name(nemo::dtype_of<bf16>) == "bf16");
}
