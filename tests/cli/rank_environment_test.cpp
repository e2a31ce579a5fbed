#include "cli/rank_environment.h"

#include <catch2/catch.hpp>
#include <map>

#include "core/error.h"

using Catch::Matchers::Contains;
using namespace nemo;

namespace {

std::optional<RankEnvironment> read(const std::map<std::string, std::string>& variables) {
  return read_rank_environment([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

}  // namespace

TEST_CASE("a process that nobody launched stands alone", "[cli][launch]") {
  CHECK_FALSE(read({}).has_value());
  CHECK_FALSE(read({{"WORLD_SIZE", "1"}, {"RANK", "0"}}).has_value());
  CHECK_FALSE(read({{"SLURM_JOB_ID", "7"}, {"SLURM_NTASKS", "4"}}).has_value());  // in the batch script, not under srun
}

TEST_CASE("torchrun's environment makes a rank", "[cli][launch]") {
  std::map<std::string, std::string> variables{
      {"RANK", "5"}, {"WORLD_SIZE", "8"}, {"LOCAL_RANK", "1"}, {"MASTER_ADDR", "10.0.0.1"}, {"MASTER_PORT", "29500"}};
  const auto rank = read(variables);
  REQUIRE(rank.has_value());
  CHECK(rank->rank == 5);
  CHECK(rank->world_size == 8);
  CHECK(rank->local_rank == 1);
  CHECK(to_string(rank->store) == "10.0.0.1:29500");
  CHECK_FALSE(rank->serves_store);
  variables["RANK"] = "0";
  CHECK(read(variables)->serves_store);
  variables["TORCHELASTIC_USE_AGENT_STORE"] = "True";
  CHECK(read(variables)->store.port == 29501);
  variables["NEMO_STORE_PREFIX"] = "0/";
  CHECK_FALSE(read(variables)->serves_store);
}

TEST_CASE("srun's environment makes a rank", "[cli][launch]") {
  std::map<std::string, std::string> variables{{"SLURM_PROCID", "3"},  {"SLURM_NTASKS", "4"},
                                               {"SLURM_LOCALID", "1"}, {"SLURM_JOB_ID", "812345"},
                                               {"SLURM_STEP_ID", "2"}, {"SLURM_STEP_NODELIST", "gpu[07-09,12],big1"}};
  const auto rank = read(variables);
  REQUIRE(rank.has_value());
  CHECK(rank->rank == 3);
  CHECK(rank->local_rank == 1);
  CHECK(rank->store.host == "gpu07");
  CHECK(rank->store.port >= 20000);
  variables["SLURM_PROCID"] = "0";
  CHECK(read(variables)->serves_store);
  CHECK(read(variables)->store.port == rank->store.port);
  variables["MASTER_PORT"] = "4000";
  CHECK(read(variables)->store.port == 4000);
}

TEST_CASE("the first node of Slurm's lists", "[cli][launch]") {
  CHECK(first_node("one") == "one");
  CHECK(first_node("a1,a2") == "a1");
  CHECK(first_node("node[003-010]") == "node003");
  CHECK(first_node("rack[2,4]n[05-06]x,other") == "rack2n05x");
  CHECK(first_node("node[3") == "");
  CHECK(first_node("") == "");
}

TEST_CASE("an environment that contradicts itself is an error", "[cli][launch]") {
  CHECK_THROWS_WITH(read({{"RANK", "0"}}), Contains("environment: WORLD_SIZE: is not set"));
  CHECK_THROWS_WITH(read({{"RANK", "4"}, {"WORLD_SIZE", "4"}}),
                    Contains("environment: RANK: '4' is not a number from 0 to 3"));
  CHECK_THROWS_WITH(read({{"RANK", "x"}, {"WORLD_SIZE", "4"}}), Contains("'x' is not a number"));
  CHECK_THROWS_WITH(read({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"LOCAL_RANK", "0"}}),
                    Contains("MASTER_ADDR: is not set"));
  CHECK_THROWS_WITH(
      read({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"LOCAL_RANK", "0"}, {"MASTER_ADDR", "h"}, {"MASTER_PORT", "70000"}}),
      Contains("MASTER_PORT: '70000'"));
}
