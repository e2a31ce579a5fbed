#include "parallel/mesh_groups.h"

#include <numeric>

#include "core/error.h"

namespace nemo {

MeshGroups::MeshGroups(Mesh mesh, GroupFactory& factory) : mesh_(std::move(mesh)), factory_(factory) {
  if (factory.rank() != mesh_.rank() || factory.world_size() != mesh_.sizes().world_size())
    throw CommError{
        "mesh", "rank " + std::to_string(mesh_.rank()) + " of " + std::to_string(mesh_.sizes().world_size()),
        "the run has it as rank " + std::to_string(factory.rank()) + " of " + std::to_string(factory.world_size())};
}

ProcessGroup MeshGroups::made(const std::string& name, const std::vector<int>& ranks) {
  const auto found = groups_.find(name);
  if (found != groups_.end()) return found->second;
  return groups_.emplace(name, factory_.make(name, ranks)).first->second;
}

ProcessGroup MeshGroups::group(Axes axes) {
  return made(group_name(std::span(axes.begin(), axes.size())), mesh_.members(axes));
}

ProcessGroup MeshGroups::world() {
  std::vector<int> ranks(static_cast<size_t>(mesh_.sizes().world_size()));
  std::iota(ranks.begin(), ranks.end(), 0);
  return made("world", ranks);
}

ProcessGroup MeshGroups::shard() {
  return made("shard", mesh_.shard_members());
}
ProcessGroup MeshGroups::replica() {
  return made("replica", mesh_.replica_members());
}

}  // namespace nemo
