#include "core/sharding/slice.h"

#include <catch2/catch.hpp>

#include "core/error.h"
#include "core/sharding/flat_ranges.h"

using namespace nemo;
using Catch::Matchers::Equals;

namespace {

Parameter parameter(const Shape& shape, int64_t padding_rows = 0) {
  ParameterStore store;
  return store.declare("block", "w", shape, Initializer::constant(0), padding_rows);
}

Parameter sliced(Parameter whole, const ShardRule& rule, int64_t index, int64_t num, bool stream_is_cut = false) {
  cut(whole, rule, index, num, stream_is_cut);
  return whole;
}

bool has_copies(const Parameter& parameter, int64_t count, bool first, bool partial) {
  return parameter.copies.count == count && parameter.copies.first == first && parameter.copies.partial == partial;
}

}  // namespace

TEST_CASE("rows and columns are cut evenly", "[sharding]") {
  const Parameter rows = sliced(parameter({12, 5}), {.parameter = "w", .value = Shard{0}}, 2, 3);
  CHECK(rows.shape == Shape{4, 5});
  CHECK(rows.slice_offset == Shape{8, 0});
  CHECK(rows.global_shape == Shape{12, 5});
  CHECK(has_copies(rows, 1, true, false));
  const Parameter columns = sliced(parameter({12, 6}), {.parameter = "w", .value = Shard{1}}, 1, 3);
  CHECK(columns.shape == Shape{12, 2});
  CHECK(columns.slice_offset == Shape{0, 2});
  CHECK_THROWS_WITH(sliced(parameter({12, 5}), {.parameter = "w", .value = Shard{1}}, 0, 3),
                    Equals("w: a dimension of 5: cannot be cut over 3 ranks; try: a number that divides it"));
}

TEST_CASE("heads stay whole and are shared where the ranks are more", "[sharding]") {
  const ShardRule rule{.parameter = "w", .value = Shard{0}, .unit = heads(2), .gradient = GradientPart::own_heads};
  CHECK(has_copies(sliced(parameter({24, 3}), rule, 1, 2), 1, true, false));
  for (int64_t rank = 0; rank < 4; ++rank) {
    const Parameter slice = sliced(parameter({24, 3}), rule, rank, 4);
    CHECK(slice.shape == Shape{12, 3});
    CHECK(slice.slice_offset == Shape{rank / 2 * 12, 0});
    CHECK(has_copies(slice, 2, rank % 2 == 0, true));
  }
  CHECK_THROWS_WITH(sliced(parameter({24, 3}), rule, 0, 3),
                    Equals("w: 2 heads: cannot be cut over 3 ranks; try: a divisor or a multiple of the heads"));
}

TEST_CASE("vocabulary padding goes to the last slices", "[sharding]") {
  const ShardRule rule{.parameter = "w", .value = Shard{0}, .unit = vocabulary()};
  const int64_t stored[] = {4, 4, 2, 0};
  for (int64_t rank = 0; rank < 4; ++rank) {
    const Parameter slice = sliced(parameter({16, 3}, 6), rule, rank, 4);
    CHECK(slice.shape == Shape{4, 3});
    CHECK(slice.shape[0] - slice.padding_rows == stored[rank]);
    CHECK(slice.slice_offset[0] == std::min<int64_t>(4 * rank, 10));
  }
  CHECK_THROWS_WITH(
      sliced(parameter({16, 3}, 6), rule, 0, 3),
      Equals("w: a vocabulary padded to 16: cannot be cut over 3 ranks; try: pad it to a multiple of the ranks"));
}

TEST_CASE("what every rank holds has a first copy, and a partial gradient where each sees a part", "[sharding]") {
  CHECK(has_copies(sliced(parameter({5}), {.parameter = "w"}, 1, 2, true), 2, false, false));
  const ShardRule on_the_stream{.parameter = "w", .gradient = GradientPart::own_stream_rows};
  CHECK(has_copies(sliced(parameter({5}), on_the_stream, 0, 2, false), 2, true, false));
  CHECK(has_copies(sliced(parameter({5}), on_the_stream, 0, 2, true), 2, true, true));
  CHECK(has_copies(sliced(parameter({5}), on_the_stream, 0, 1, true), 1, true, false));
  CHECK(has_copies(sliced(parameter({5}), {.parameter = "w", .gradient = GradientPart::own_heads}, 1, 2), 2, false,
                   true));
}

TEST_CASE("ranges of a flat buffer follow its members' copies", "[sharding]") {
  std::vector<Parameter> members(4, parameter({10}));
  members[1].copies = {.count = 4, .first = true, .partial = true};
  members[2].copies = {.count = 4, .first = false, .partial = true};
  members[3].copies = {.count = 2, .first = false, .partial = true};
  FlatBuffer flat;
  flat.numel = 500;
  for (size_t i = 0; i < members.size(); ++i) {
    members[i].flat_offset = static_cast<int64_t>(i) * 128;
    flat.members.push_back(&members[i]);
  }
  CHECK(counted_ranges(flat) == std::vector<FlatRange>{{0, 256}});
  CHECK(partial_ranges(flat) == std::vector<FlatRange>{{128, 384, 4}, {384, 500, 2}});
}
