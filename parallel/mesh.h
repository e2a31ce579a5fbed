// The mesh of ranks: how many along each axis, where a rank stands, and who shares a line or a plane with it.
// Not here: groups that communicate (parallel/mesh_groups.h), what model and batch demand (recipes/mesh_checks.h).
#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/sharding/axis.h"

namespace nemo {

struct ParallelismConfig;

// A layout that does not fit the number of ranks, told as an error about a recipe key.
struct MeshMisfit {
  std::string key, reason, suggestion;  // key: "parallelism.tensor_model_parallel_size"
};
std::optional<MeshMisfit> find_misfit(const ParallelismConfig& config, int64_t world_size);

// Axis sizes; the rank is tp + TP * (cp + CP * (dp + DP * pp)), over the same ranks etp + ETP * (ep + EP * (edp + EDP *
// pp)).
class MeshSizes {
 public:
  MeshSizes() { sizes_.fill(1); }  // one rank
  // data and expert_data are what remains. PlanError where find_misfit finds one.
  MeshSizes(const ParallelismConfig& config, int64_t world_size);

  int64_t operator[](Axis axis) const { return sizes_[static_cast<size_t>(axis)]; }
  int64_t world_size() const;
  // Copies of the state that data-parallel sharding cuts; each is shared out over data x context / this many ranks.
  int64_t num_distributed_optimizer_instances() const { return instances_; }

 private:
  std::array<int64_t, kNumAxes> sizes_;
  int64_t instances_ = 1;
};

using Axes = std::initializer_list<Axis>;

class Mesh {
 public:
  Mesh() = default;  // one rank
  Mesh(MeshSizes sizes, int rank);

  const MeshSizes& sizes() const { return sizes_; }
  int rank() const { return rank_; }
  int64_t size(Axis axis) const { return sizes_[axis]; }
  int64_t size(Axes axes) const;
  int64_t coordinate(Axis axis) const;
  // Ranks that differ from this one along these axes only, ascending, itself included. Axes of one grid: tensor,
  // context, data, pipeline or expert_tensor, expert, expert_data, pipeline; PlanError where mixed.
  std::vector<int> members(std::span<const Axis> axes) const;
  std::vector<int> members(Axes axes) const { return members(std::span(axes.begin(), axes.size())); }

  // Dense gradients are summed over data x context. These split it: the ranks that share out one copy of the sharded
  // state (neighbours), and those that hold the same share of each copy.
  std::vector<int> shard_members() const;
  std::vector<int> replica_members() const;

 private:
  MeshSizes sizes_;
  int rank_ = 0;
};

// "dp_cp" for {data, context}; the name of the group.
std::string group_name(std::span<const Axis> axes);

// Which rank is where, as lines of text: rows by data and context, columns by pipeline stage; long rows and columns are
// folded, so that 1024 ranks fit a screen.
std::string draw_mesh(const MeshSizes& sizes);

}  // namespace nemo
