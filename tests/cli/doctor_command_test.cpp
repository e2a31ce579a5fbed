#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "tests/cli/nemo_process.h"

using Catch::Matchers::Contains;
using nemo::testing::run_nemo;

TEST_CASE("doctor reports the machine and exits by its findings", "[cli]") {
  auto result = run_nemo({"doctor", "--json"});
  auto json = nlohmann::json::parse(result.out);
  CHECK(json["cpu"]["processors"].get<int>() >= 1);
  CHECK(json["memory"]["total_bytes"].get<int64_t>() > 0);
  bool blocked = false;
  for (const auto& finding : json["findings"]) blocked |= finding["severity"] == "blocks";
  CHECK(result.exit_code == (blocked ? 1 : 0));
}

TEST_CASE("doctor says how to mend what it finds", "[cli]") {
  auto result = run_nemo({"doctor"}, {"OMP_NUM_THREADS=100000"});
  CHECK_THAT(result.out,
             Contains("warning: processors: 100000 threads would share") && Contains("; try: export OMP_NUM_THREADS="));
}
