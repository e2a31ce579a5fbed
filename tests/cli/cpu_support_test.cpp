#include "cli/cpu_support.h"

#include <catch2/catch.hpp>

#include "kernels/base/cpu_features.h"

using namespace nemo;
using Words = std::vector<std::string>;

TEST_CASE("what this build needs is here, or these tests could not run", "[cli]") {
  CHECK(missing_features(kernels::cpu_features_compiled_in(), cpu_features()) == Words{});
  CHECK_NOTHROW(expect_supported_cpu());
}

TEST_CASE("missing features are listed in order", "[cli]") {
  CHECK(missing_features({"avx2", "fma", "avx512f"}, {"fma", "sse2"}) == Words{"avx2", "avx512f"});
  CHECK(missing_features({}, {}) == Words{});
}
