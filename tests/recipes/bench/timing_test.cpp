#include "recipes/bench/timing.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

using namespace nemo;

TEST_CASE("a spread holds the median and the ends", "[bench]") {
  CHECK(spread_of({5, 1, 3}).median == 3);
  const Spread even = spread_of({4, 1, 3, 10});
  CHECK(even.median == 3.5);
  CHECK(even.min == 1);
  CHECK(even.max == 10);
}

TEST_CASE("launches are timed one by one or in groups, each numbered", "[bench]") {
  Runtime runtime({});
  std::vector<int64_t> numbers;
  const Spread slow = time_launches(runtime,
                                    [&](int64_t number) {
                                      numbers.push_back(number);
                                      std::this_thread::sleep_for(std::chrono::milliseconds(2));
                                    },
                                    {.num_samples = 4, .sample_ms = 1, .budget_ms = 1000});
  CHECK(slow.min >= 2);
  CHECK(slow.median < 100);
  for (size_t i = 0; i < numbers.size(); ++i) CHECK(numbers[i] == static_cast<int64_t>(i));
  CHECK(numbers.size() == 5 + 4);  // warming up, and a sample each

  int64_t calls = 0;
  time_launches(runtime, [&](int64_t) { ++calls; }, {.num_samples = 3, .sample_ms = 0.01, .budget_ms = 1000});
  CHECK(calls > 5 + 3);  // grouped
}

TEST_CASE("copies of a buffer do not fit in a cache together", "[bench]") {
  CHECK(copies_beyond_cache(size_t{1} << 30) == 1);
  CHECK(copies_beyond_cache(size_t{64} << 20) * 64 > 128);
  CHECK(copies_beyond_cache(1) == 16);
}
