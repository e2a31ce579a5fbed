#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "cli/build_info.h"
#include "tests/cli/nemo_process.h"

using nemo::testing::run_nemo;

TEST_CASE("version --json describes this build", "[cli]") {
  auto result = run_nemo({"version", "--json"});
  REQUIRE(result.exit_code == 0);
  auto json = nlohmann::json::parse(result.out);
  CHECK(json["version"] == nemo::build_info().version);
  CHECK(json["git_commit"] == nemo::build_info().git_commit);
  CHECK(json["cuda"] == nemo::build_info().has_cuda());
  CHECK(json["onednn"].get<std::string>().find('.') != std::string::npos);
  for (const char* key : {"build_type", "compiler", "cpu_arch"}) CHECK_FALSE(json[key].get<std::string>().empty());
}

TEST_CASE("version and --version agree on the first line", "[cli]") {
  const std::string line = nemo::build_info().summary() + "\n";
  CHECK(run_nemo({"--version"}).out == line);
  CHECK(run_nemo({"version"}).out.substr(0, line.size()) == line);
}
