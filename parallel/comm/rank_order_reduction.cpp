#include "parallel/comm/rank_order_reduction.h"

#include <algorithm>
#include <array>

#include "core/error.h"

namespace nemo {
namespace {

constexpr int64_t kBlock = 1024;  // elements whose partial results stay in cache

template <class Sum>
void combine(Sum& sum, Sum value, Reduction reduction) {
  if (reduction == Reduction::sum)
    sum += value;
  else if (!(sum >= value) && sum == sum)  // also when value is NaN
    sum = value;
}

template <class T, class Sum>
void reduce(T* out, std::span<const void* const> inputs, int64_t count, Reduction reduction) {
  std::array<Sum, kBlock> sums;
  for (int64_t start = 0; start < count; start += kBlock) {
    const int64_t length = std::min(kBlock, count - start);
    for (size_t rank = 0; rank < inputs.size(); ++rank) {
      const T* input = static_cast<const T*>(inputs[rank]) + start;
      for (int64_t i = 0; i < length; ++i) {
        if (rank == 0)
          sums[static_cast<size_t>(i)] = static_cast<Sum>(input[i]);
        else
          combine(sums[static_cast<size_t>(i)], static_cast<Sum>(input[i]), reduction);
      }
    }
    for (int64_t i = 0; i < length; ++i) out[start + i] = static_cast<T>(sums[static_cast<size_t>(i)]);
  }
}

}  // namespace

void reduce_in_rank_order(void* out, std::span<const void* const> inputs, int64_t count, DType dtype,
                          Reduction reduction) {
  switch (dtype) {
    case DType::fp32:
      return reduce<float, float>(static_cast<float*>(out), inputs, count, reduction);
    case DType::bf16:
      return reduce<bf16, float>(static_cast<bf16*>(out), inputs, count, reduction);
    case DType::fp64:
      return reduce<double, double>(static_cast<double*>(out), inputs, count, reduction);
    case DType::int32:
      return reduce<int32_t, int32_t>(static_cast<int32_t*>(out), inputs, count, reduction);
    case DType::int64:
      return reduce<int64_t, int64_t>(static_cast<int64_t*>(out), inputs, count, reduction);
    case DType::uint8:
      return reduce<uint8_t, uint8_t>(static_cast<uint8_t*>(out), inputs, count, reduction);
    default:
      throw CommError{"reduction", std::string(name(dtype)), "is not a type that can be reduced"};
  }
}

}  // namespace nemo
