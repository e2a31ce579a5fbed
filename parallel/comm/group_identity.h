// What tells one group of a run from another, the same on all its members. Not here: making groups.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "parallel/comm/communicator.h"

namespace nemo {

// CommError unless ranks ascend, lie in the world and hold `rank`.
GroupMembers make_members(const std::string& name, std::vector<int> ranks, int rank, int world_size);

// "dp[0,2]#1": name, ranks, and how many of that name and ranks were made before, which num_made counts.
std::string group_identity(const GroupMembers& members, std::map<std::string, int>& num_made);

}  // namespace nemo
