#include "recipes/bench/step_profile.h"

#include <catch2/catch.hpp>

using namespace nemo;

TEST_CASE("a profile adds up kernels by name and finds the gaps between them", "[bench]") {
  // Two steps; b overlaps a, then nothing runs for 300 ns. Records come in any order.
  const StepProfile profile = summarise({{"_ZN4nemo7kernels3addIfEEvPT_S3_", 1800, 2000},
                                         {"[copy]", 1000, 1300},
                                         {"_ZN4nemo7kernels3addIfEEvPT_S3_", 1200, 1500}},
                                        2);
  CHECK(profile.num_steps == 2);
  CHECK(profile.ms_per_step == Approx(1000e-6 / 2));
  CHECK(profile.idle_ms_per_step == Approx(300e-6 / 2));
  REQUIRE(profile.rows.size() == 2);
  CHECK(profile.rows[0].name == "nemo::kernels::add<float>");
  CHECK(profile.rows[0].calls_per_step == Approx(1));
  CHECK(profile.rows[0].ms_per_step == Approx(500e-6 / 2));
  CHECK(profile.rows[0].share == Approx(500.0 / 800));
  CHECK(profile.rows[1].name == "[copy]");
  CHECK(summarise({}, 3).rows.empty());
}

TEST_CASE("names of kernels are read without their parameters", "[bench]") {
  const auto read = [](const char* mangled) { return summarise({{mangled, 0, 1}}, 1).rows[0].name; };
  // void (anonymous namespace)::f<(E)1>(int (*)(float), A<int (float)>)
  CHECK(read("_ZN12_GLOBAL__N_11fILNS_1EE1EEEvPFifE1AIFifEE") ==
        "(anonymous namespace)::f<((anonymous namespace)::E)1>");
  CHECK(read("_Z4softPf") == "soft");
  CHECK(read("nvjet_hsh_128x256_64x4") == "nvjet_hsh_128x256_64x4");
}
