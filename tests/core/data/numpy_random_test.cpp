#include "core/data/numpy_random.h"

#include <catch2/catch.hpp>
#include <numeric>

#include "tests/core/data/golden_arrays.h"

namespace nemo {

TEST_CASE("shuffles as numpy's RandomState does", "[data]") {
  const auto golden = test::read_golden_arrays(std::string(NEMO_SOURCE_DIR) + "/tests/golden/data/randomstate.safetensors");
  for (const uint32_t seed : {0u, 1u, 1234u, 2147483653u}) {
    NumpyRandomState random(seed);
    for (const auto& [name, size] : {std::pair{"shuffle50.", 50}, std::pair{"then1000.", 1000}}) {
      std::vector<int64_t> values(size);
      std::iota(values.begin(), values.end(), 0);
      random.shuffle(std::span(values));
      CHECK((values == golden.at(name + std::to_string(seed)).values));
    }
  }
}

}  // namespace nemo
