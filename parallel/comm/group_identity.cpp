#include "parallel/comm/group_identity.h"

#include <algorithm>

#include "core/error.h"

namespace nemo {

GroupMembers make_members(const std::string& name, std::vector<int> ranks, int rank, int world_size) {
  const bool ascending = std::adjacent_find(ranks.begin(), ranks.end(), std::greater_equal<>()) == ranks.end();
  if (ranks.empty() || !ascending || ranks.front() < 0 || ranks.back() >= world_size)
    throw CommError{"group " + name, "ranks", "do not ascend from 0 to " + std::to_string(world_size - 1)};
  const auto mine = std::find(ranks.begin(), ranks.end(), rank);
  if (mine == ranks.end()) throw CommError{"group " + name, "rank " + std::to_string(rank), "is not a member"};
  const int index = static_cast<int>(mine - ranks.begin());
  return {name, std::move(ranks), index};
}

std::string group_identity(const GroupMembers& members, std::map<std::string, int>& num_made) {
  std::string key = members.name + "[";
  for (const int rank : members.ranks) key.append(key.back() == '[' ? "" : ",").append(std::to_string(rank));
  key.append("]");
  return key + "#" + std::to_string(num_made[key]++);
}

}  // namespace nemo
