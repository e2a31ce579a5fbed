#include "core/data/split.h"

#include <catch2/catch.hpp>

#include "core/error.h"

namespace nemo {

TEST_CASE("split strings", "[data]") {
  const SplitRanges ranges = parse_split("9999,8,2");
  CHECK(ranges[0]->begin == 0);
  CHECK(ranges[1]->end == Approx(0.9998 + 0.0001 - 0.00008).epsilon(1e-3));
  CHECK(ranges[2]->end == Approx(1));
  CHECK_FALSE(parse_split("1")[1]);
  CHECK_FALSE(parse_split("90, 0, 10")[1]);
  for (const std::string bad : {"", "a,b", "1,2,3,4", "0,0,0", "-1,2", "1,,2", "inf,1", "nan,1"}) {
    INFO(bad);
    CHECK_THROWS_MATCHES(parse_split(bad), DataError,
                         Catch::Matchers::Message("data.split: \"" + bad + "\" is not up to three shares, of which one is "
                                                  "over 0; try: \"9999,8,2\""));
  }
}

}  // namespace nemo
