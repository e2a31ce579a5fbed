#include "core/checkpoint/convert_dtype.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <vector>

#include "core/error.h"
#include "tests/core/checkpoint/checkpoint_files.h"

using namespace nemo;

namespace {

template <class To, class From>
std::vector<To> converted(const std::vector<From>& from) {
  std::vector<To> to(from.size());
  convert_dtype(std::as_bytes(std::span(from)), dtype_of<From>, std::as_writable_bytes(std::span(to)), dtype_of<To>);
  return to;
}
static_assert(dtype_of<float> == DType::fp32);

}  // namespace

TEST_CASE("Widening keeps the value and narrowing rounds to nearest even", "[checkpoint][dtype]") {
  const std::vector<float> values = {0.f, -1.5f, 1.00390625f, 1.01171875f, 3e38f, 1e-40f};
  CHECK(converted<float>(converted<double>(values)) == values);
  const std::vector<bf16> narrow = converted<bf16>(values);
  CHECK(narrow[1].bits == 0xbfc0);
  CHECK(narrow[2].bits == 0x3f80);  // halfway between 1 and 1 + 2^-7: to even
  CHECK(narrow[3].bits == 0x3f82);  // halfway between 1 + 2^-7 and 1 + 2^-6: to even
  std::vector<bf16> all(65536);
  for (size_t i = 0; i < all.size(); ++i) all[i].bits = static_cast<uint16_t>(i);
  const std::vector<bf16> there_and_back = converted<bf16>(converted<float>(all));
  size_t changed = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    const bool nan = (all[i].bits & 0x7fff) > 0x7f80;
    changed += !nan && there_and_back[i].bits != all[i].bits;
  }
  CHECK(changed == 0);
  CHECK(static_cast<float>(converted<fp16>(std::vector<float>{0.333251953125f})[0]) == 0.333251953125f);
}

TEST_CASE("Conversion reads unaligned sources and refuses whole numbers", "[checkpoint][dtype]") {
  std::byte source[5] = {};
  const float value = 2.5f;
  std::memcpy(source + 1, &value, 4);
  bf16 target;
  convert_dtype(std::span(source).subspan(1), DType::fp32, {reinterpret_cast<std::byte*>(&target), 2}, DType::bf16);
  CHECK(static_cast<float>(target) == 2.5f);
  int32_t whole = 3;
  CHECK(
      test::error_of<CheckpointError>([&] {
        convert_dtype({reinterpret_cast<std::byte*>(&whole), 4}, DType::int32, std::span(source).first(4), DType::fp32);
      }) == "conversion: int32: is not a floating-point type");
}
