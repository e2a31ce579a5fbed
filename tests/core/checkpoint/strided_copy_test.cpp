#include "core/checkpoint/strided_copy.h"

#include <catch2/catch.hpp>

using namespace nemo;

namespace {

template <class T>
void check_transposition() {
  const int64_t rows = 75, cols = 41;  // more than one tile, not a whole number of them
  std::vector<T> from(static_cast<size_t>(rows * cols)), to(from.size());
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<T>(i * 7 + 1);
  StridedCopy copy;
  add_dim(copy, {rows, cols, 1});
  add_dim(copy, {cols, 1, rows});
  CHECK(copy.num_elements() == rows * cols);
  run_copy(copy, reinterpret_cast<const std::byte*>(from.data()), reinterpret_cast<std::byte*>(to.data()), sizeof(T));
  bool right = true;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t col = 0; col < cols; ++col)
      right = right && to[static_cast<size_t>(col * rows + row)] == from[static_cast<size_t>(row * cols + col)];
  }
  CHECK(right);
  std::vector<T> back(from.size());
  run_copy(copy.reversed(), reinterpret_cast<const std::byte*>(to.data()), reinterpret_cast<std::byte*>(back.data()),
           sizeof(T));
  CHECK(back == from);
}

}  // namespace

TEST_CASE("A transposition goes there and back for every element size", "[checkpoint][box]") {
  check_transposition<uint8_t>();
  check_transposition<uint16_t>();
  check_transposition<uint32_t>();
  check_transposition<uint64_t>();
}

TEST_CASE("Dimensions that both sides walk as one are joined", "[checkpoint][box]") {
  StridedCopy copy;
  add_dim(copy, {3, 20, 40});
  add_dim(copy, {4, 5, 5});
  add_dim(copy, {1, 9, 9});
  add_dim(copy, {5, 1, 1});
  REQUIRE(copy.dims.size() == 2);
  CHECK(copy.dims[0].count == 3);
  CHECK(copy.dims[1].count == 20);
}

TEST_CASE("An empty region copies nothing", "[checkpoint][box]") {
  StridedCopy copy;
  add_dim(copy, {0, 1, 1});
  std::byte target{7};
  run_copy(copy, nullptr, &target, 1);
  CHECK(target == std::byte{7});
}
