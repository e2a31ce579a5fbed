// Joins this process to the run it is a rank of, or runs its own command line again as several ranks of this machine.
// Not here: what launched it (cli/rank_environment.h), several machines (cli/launch_command.h).
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/rank_environment.h"
#include "core/device/device.h"
#include "parallel/job/job.h"
#include "recipes/schema.h"

namespace nemo {

std::optional<RankEnvironment> this_rank();  // from the environment of this process

// A device as the user asked for it; "auto" and "cuda" give each local rank a GPU of its own.
Device device_of_rank(const std::string& text, const std::optional<RankEnvironment>& environment);

// Returns when all ranks are there and have the same binary, recipe, device kind and number of ranks.
std::unique_ptr<Job> join_job(const RankEnvironment& environment, const Recipe& recipe, Device device);

// Runs this command line as ranks 0 to num_ranks - 1 and returns the exit code to end with; says which rank failed.
int run_as_ranks(int num_ranks);

// The environment of a rank's process besides its numbers: where the store is, and as many threads as its share of the
// cores.
std::vector<std::string> rank_variables(const Endpoint& store, const std::string& prefix, int ranks_on_this_machine);

}  // namespace nemo
