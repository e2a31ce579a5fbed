#include "core/checkpoint/box.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <numeric>
#include <random>

#include "core/error.h"
#include "tests/core/checkpoint/checkpoint_files.h"

using namespace nemo;
using namespace nemo::test;
using Catch::Matchers::Contains;

namespace {

using Random = std::mt19937;
int64_t draw(Random& random, int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(random);
}

// The whole tensor as boxes, cut at random places in random dims.
std::vector<Box> random_cut(Random& random, const std::string& name, const std::vector<int64_t>& shape, int num_cuts) {
  std::vector<Box> boxes{whole_box(name, shape)};
  for (int cut = 0; cut < num_cuts; ++cut) {
    const size_t which = static_cast<size_t>(draw(random, 0, static_cast<int64_t>(boxes.size()) - 1));
    const size_t dim = static_cast<size_t>(draw(random, 0, static_cast<int64_t>(shape.size()) - 1));
    if (boxes[which].extent[dim] < 2) continue;
    const int64_t at = draw(random, 1, boxes[which].extent[dim] - 1);
    Box rest = boxes[which];
    boxes[which].extent[dim] = at;
    rest.offset[dim] += at;
    rest.extent[dim] -= at;
    boxes.push_back(rest);
  }
  std::shuffle(boxes.begin(), boxes.end(), random);
  return boxes;
}

// Lays the boxes one after another, with a gap, in one buffer.
std::vector<PlacedBox> place(const std::vector<Box>& boxes, int64_t& size) {
  std::vector<PlacedBox> placed;
  size = 0;
  for (const Box& box : boxes) {
    size += 3;
    placed.push_back({box, size});
    size += box.num_elements();
  }
  return placed;
}

// Calls visit(flat offset in the buffer, flat index in the global tensor) for every element of the box.
template <class Visit>
void for_each_element(const PlacedBox& placed, Visit&& visit) {
  const std::vector<int64_t> global = row_major_strides(placed.box.shape), local = row_major_strides(placed.box.extent);
  for (int64_t i = 0; i < placed.box.num_elements(); ++i) {
    int64_t rest = i, index = 0;
    for (size_t dim = 0; dim < global.size(); ++dim) {
      index += (placed.box.offset[dim] + rest / local[dim]) * global[dim];
      rest %= local[dim];
    }
    visit(placed.flat_offset + i, index);
  }
}

template <class T>
void check_random_resharding(Random& random, size_t rank) {
  std::vector<int64_t> shape(rank);
  for (int64_t& size : shape) size = draw(random, 1, 9);
  int64_t from_size = 0, to_size = 0;
  const std::vector<PlacedBox> from =
      place(random_cut(random, "w", shape, static_cast<int>(draw(random, 0, 8))), from_size);
  const std::vector<PlacedBox> to =
      place(random_cut(random, "w", shape, static_cast<int>(draw(random, 0, 8))), to_size);
  std::vector<T> source(static_cast<size_t>(from_size)), target(static_cast<size_t>(to_size), T{0});
  for (const PlacedBox& placed : from) {
    for_each_element(
        placed, [&](int64_t flat, int64_t index) { source[static_cast<size_t>(flat)] = static_cast<T>(index + 1); });
  }
  std::vector<T> expected(target.size(), T{0});
  for (const PlacedBox& placed : to) {
    for_each_element(
        placed, [&](int64_t flat, int64_t index) { expected[static_cast<size_t>(flat)] = static_cast<T>(index + 1); });
  }
  int64_t moved = 0;
  for (const BoxCopy& copy : plan_copies("test", from, to)) {
    run_copy(copy.copy, reinterpret_cast<const std::byte*>(source.data()), reinterpret_cast<std::byte*>(target.data()),
             sizeof(T));
    moved += copy.copy.num_elements();
  }
  CHECK(moved == std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>()));
  CHECK(target == expected);  // gaps between the boxes included: they stay zero
}

}  // namespace

TEST_CASE("Any cut of a tensor becomes any other cut, element by element", "[checkpoint][box]") {
  Random random(7);
  for (int trial = 0; trial < 100; ++trial) {
    for (size_t rank = 1; rank <= 4; ++rank) {
      check_random_resharding<uint16_t>(random, rank);
      check_random_resharding<double>(random, rank);
    }
  }
}

TEST_CASE("Scalars and empty boxes are copied too", "[checkpoint][box]") {
  const std::vector<PlacedBox> from{{whole_box("scalar", {}), 2}},
      to{{whole_box("scalar", {}), 0}, {whole_box("empty", {0, 4}), 1}};
  const int8_t source[] = {0, 0, 9};
  int8_t target[] = {1};
  const std::vector<BoxCopy> copies = plan_copies("test", from, to);
  REQUIRE(copies.size() == 1);
  run_copy(copies[0].copy, reinterpret_cast<const std::byte*>(source), reinterpret_cast<std::byte*>(target), 1);
  CHECK(target[0] == 9);
}

TEST_CASE("A contiguous region is one run", "[checkpoint][box]") {
  Box rows = whole_box("w", {8, 4, 2});
  rows.offset[0] = 2;
  rows.extent[0] = 3;
  const std::vector<PlacedBox> from{{whole_box("w", {8, 4, 2}), 0}}, to{{rows, 0}};
  const std::vector<BoxCopy> copies = plan_copies("test", from, to);
  REQUIRE(copies.size() == 1);
  REQUIRE(copies[0].copy.dims.size() == 1);
  CHECK(copies[0].copy.dims[0].count == 24);
  CHECK(copies[0].copy.from_start == 16);
}

TEST_CASE("Missing and doubled regions are named", "[checkpoint][box]") {
  const auto box = [](std::vector<int64_t> offset, std::vector<int64_t> extent) {
    return PlacedBox{{"layers.0.w", {4, 8}, std::move(offset), std::move(extent)}, 0};
  };
  const std::vector<PlacedBox> whole{box({0, 0}, {4, 8})};
  const auto error = [&](std::vector<PlacedBox> from, std::vector<PlacedBox> to) {
    return error_of<CheckpointError>([&] { plan_copies("step_1", from, to); });
  };
  CHECK(error({box({0, 0}, {4, 4})}, whole) == "step_1: layers.0.w: region [0:4, 4:8] is missing");
  CHECK(error({box({0, 0}, {4, 4}), box({0, 4}, {2, 4})}, whole) == "step_1: layers.0.w: region [2:4, 4:8] is missing");
  CHECK(error({box({0, 0}, {4, 4}), box({0, 3}, {4, 5})}, whole) ==
        "step_1: layers.0.w: region [0:4, 3:8] overlaps another stored region");
  CHECK(error({}, whole) == "step_1: layers.0.w: is missing");
  CHECK(error({PlacedBox{whole_box("layers.0.w", {4, 4}), 0}}, whole) ==
        "step_1: layers.0.w: has shape [4, 4], but [4, 8] is needed");
  CHECK(error({box({0, 4}, {4, 8})}, whole) == "step_1: layers.0.w: region [0:4, 4:12] is not inside [4, 8]");
  CHECK(error({box({-1, 0}, {4, 8})}, whole) == "step_1: layers.0.w: region [-1:3, 0:8] is not inside [4, 8]");
  CHECK(error({box({0}, {4})}, whole) == "step_1: layers.0.w: region [0:4] is not inside [4, 8]");
  CHECK(error({box({0, 0}, {4, 4}), box({0, 4}, {4, 4})}, {box({1, 2}, {2, 5})}).empty());
}

TEST_CASE("A range of elements is a short list of boxes in order", "[checkpoint][box]") {
  const std::vector<std::vector<int64_t>> shapes = {{}, {7}, {3, 5}, {3, 4, 5}, {2, 3, 2, 3}, {1, 4, 1}};
  for (const std::vector<int64_t>& shape : shapes) {
    const int64_t size = whole_box("w", shape).num_elements();
    for (int64_t begin = 0; begin <= size; ++begin) {
      for (int64_t end = begin; end <= size; ++end) {
        const std::vector<Box> boxes = boxes_of_range("w", shape, begin, end);
        CHECK(boxes.size() <= std::max<size_t>(1, 2 * shape.size() - (shape.empty() ? 0 : 1)));
        int64_t next = begin;
        bool in_order = true;
        for (const Box& box : boxes) {
          for_each_element({box, 0}, [&](int64_t, int64_t index) { in_order = in_order && index == next++; });
        }
        CHECK(in_order);
        CHECK(next == end);
      }
    }
  }
}
