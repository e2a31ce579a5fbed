#include "core/data/text_dataset.h"

#include <catch2/catch.hpp>
#include <numeric>
#include <set>

#include "core/error.h"

namespace nemo {
namespace {

std::vector<int32_t> counting(int64_t size) {
  std::vector<int32_t> tokens(size);
  std::iota(tokens.begin(), tokens.end(), 0);
  return tokens;
}

}  // namespace

TEST_CASE("splits of a text are consecutive, samples anywhere in them", "[data]") {
  const SplitDatasets splits = split_text(counting(105), parse_split("90,10"), 8, 1);
  REQUIRE(splits[0]);
  REQUIRE(splits[1]);
  CHECK_FALSE(splits[2]);
  std::set<int32_t> starts[2];
  for (int split = 0; split < 2; ++split) {
    CHECK(splits[split]->num_samples() == kUnboundedSamples);
    for (int64_t i = 0; i < 2000; ++i) {
      const Sample sample = splits[split]->sample(i);
      REQUIRE(sample.tokens.size() == 8);
      starts[split].insert(sample.tokens[0]);
      for (int64_t at = 0; at < 8; ++at) {
        CHECK(sample.tokens[at] == sample.tokens[0] + at);
        CHECK(sample.labels[at] == sample.tokens[0] + at + 1);
      }
    }
  }
  CHECK(*starts[0].begin() == 0);  // [0, 94): the first and the last place of a whole sample are drawn, none outside
  CHECK(*starts[0].rbegin() == 94 - 9);
  CHECK(*starts[1].begin() == 94);
  CHECK(*starts[1].rbegin() == 105 - 9);
  CHECK(starts[0].size() == 86);
}

TEST_CASE("samples of a text depend on seed, split and number alone", "[data]") {
  const auto sample = [](int64_t seed, int split, int64_t i) {
    return split_text(counting(2000), parse_split("1,1"), 4, seed)[split]->sample(i).tokens;
  };
  CHECK(sample(1, 0, 7) == sample(1, 0, 7));
  CHECK(sample(1, 0, 7) != sample(2, 0, 7));
  CHECK(sample(1, 0, 7) != sample(1, 0, 8));
  CHECK(sample(1, 0, 7)[0] + 1000 != sample(1, 1, 7)[0]);
}

TEST_CASE("a text too short is refused", "[data]") {
  CHECK_THROWS_MATCHES(split_text(counting(50), parse_split("90,10"), 8, 1), DataError,
                       Catch::Matchers::Message("data.text: validation split: its 5 tokens do not fill one sample of 8 + 1; try: a "
                                                "longer text, or a shorter seq_length"));
  CHECK_THROWS_MATCHES(split_text({}, parse_split("1"), 8, 1), DataError, Catch::Matchers::Message("data.text: the text is empty"));
}

}  // namespace nemo
