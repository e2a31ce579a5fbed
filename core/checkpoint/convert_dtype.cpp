#include "core/checkpoint/convert_dtype.h"

#include <cassert>
#include <cstring>
#include <string>
#include <type_traits>

#include "core/error.h"

namespace nemo {
namespace {

template <class From, class To>
void convert_as(std::span<const std::byte> from, std::span<std::byte> to) {
  for (size_t i = 0; i < from.size() / sizeof(From); ++i) {
    From value;
    std::memcpy(&value, from.data() + i * sizeof(From), sizeof(From));  // mapped files may be unaligned
    To result;
    if constexpr (std::is_same_v<From, To>) {
      result = value;
    } else {
      result = static_cast<To>(static_cast<float>(value));
    }
    std::memcpy(to.data() + i * sizeof(To), &result, sizeof(To));
  }
}

[[noreturn]] void refuse(DType dtype) {
  throw CheckpointError{"conversion", std::string(name(dtype)), "is not a floating-point type"};
}

template <class From>
void convert_from(std::span<const std::byte> from, std::span<std::byte> to, DType to_dtype) {
  switch (to_dtype) {
    case DType::fp64:
      return convert_as<From, double>(from, to);
    case DType::fp32:
      return convert_as<From, float>(from, to);
    case DType::bf16:
      return convert_as<From, bf16>(from, to);
    case DType::fp16:
      return convert_as<From, fp16>(from, to);
    default:
      refuse(to_dtype);
  }
}

}  // namespace

void convert_dtype(std::span<const std::byte> from, DType from_dtype, std::span<std::byte> to, DType to_dtype) {
  assert(from.size() / size_bytes(from_dtype) == to.size() / size_bytes(to_dtype));
  switch (from_dtype) {
    case DType::fp64:
      return convert_from<double>(from, to, to_dtype);
    case DType::fp32:
      return convert_from<float>(from, to, to_dtype);
    case DType::bf16:
      return convert_from<bf16>(from, to, to_dtype);
    case DType::fp16:
      return convert_from<fp16>(from, to, to_dtype);
    default:
      refuse(from_dtype);
  }
}

}  // namespace nemo
