#include "core/data/mock_dataset.h"

#include <catch2/catch.hpp>
#include <set>

namespace nemo {

TEST_CASE("mock samples are drawn by seed, site and number", "[data]") {
  const auto tokens = [](uint64_t seed, uint64_t site, int64_t i) {
    return MockDataset(MockPattern::random, 50, 64, seed, site).sample(i).tokens;
  };
  CHECK(tokens(1, 2, 3) == tokens(1, 2, 3));
  CHECK(tokens(1, 2, 3) != tokens(2, 2, 3));
  CHECK(tokens(1, 2, 3) != tokens(1, 3, 3));
  CHECK(tokens(1, 2, 3) != tokens(1, 2, 4));
  std::set<int32_t> seen;
  for (int64_t i = 0; i < 100; ++i) {
    for (const int32_t id : tokens(1, 2, i)) seen.insert(id);
  }
  CHECK(seen.size() == 50);
  CHECK(*seen.begin() == 0);
  CHECK(*seen.rbegin() == 49);
}

TEST_CASE("mock patterns", "[data]") {
  const Sample arange = MockDataset(MockPattern::arange, 7, 20, 1, 2).sample(5);
  for (int64_t i = 0; i < 20; ++i) CHECK(arange.labels[i] == (arange.tokens[i] + 1) % 7);
  for (const int64_t seq_length : {9, 10}) {
    const Sample copy = MockDataset(MockPattern::copy, 1000, seq_length, 1, 2).sample(5);
    const int64_t half = (seq_length + 2) / 2;
    for (int64_t i = half; i < seq_length; ++i) CHECK(copy.tokens[i] == copy.tokens[i - half]);
    CHECK(copy.tokens[0] != copy.tokens[1]);
  }
}

}  // namespace nemo
