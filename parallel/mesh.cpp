#include "parallel/mesh.h"

#include <algorithm>

#include "core/error.h"
#include "parallel/config.h"

namespace nemo {
namespace {

constexpr std::array kDenseGrid = {Axis::tensor, Axis::context, Axis::data, Axis::pipeline};  // fastest first
constexpr std::array kExpertGrid = {Axis::expert_tensor, Axis::expert, Axis::expert_data, Axis::pipeline};

std::string text(int64_t number) {
  return std::to_string(number);
}

bool is_in(std::span<const Axis> axes, Axis axis) {
  return std::find(axes.begin(), axes.end(), axis) != axes.end();
}

std::span<const Axis> grid_of(std::span<const Axis> axes) {
  const auto holds_all = [axes](std::span<const Axis> grid) {
    return std::all_of(axes.begin(), axes.end(), [grid](Axis axis) { return is_in(grid, axis); });
  };
  if (holds_all(kDenseGrid)) return kDenseGrid;
  if (holds_all(kExpertGrid)) return kExpertGrid;
  throw PlanError{"mesh", group_name(axes), "mixes axes of the dense and the expert grid"};
}

// The most telling key of a product of sizes: the first that is not 1.
std::string culprit(const ParallelismConfig& config) {
  if (config.tensor_model_parallel_size > 1) return "parallelism.tensor_model_parallel_size";
  if (config.pipeline_model_parallel_size > 1) return "parallelism.pipeline_model_parallel_size";
  return "parallelism.context_parallel_size";
}

std::string divisors(int64_t number) {
  std::vector<int64_t> sizes;
  for (int64_t size = 1; size <= number && sizes.size() < 8; ++size)
    if (number % size == 0) sizes.push_back(size);
  std::string out = "use ";
  for (size_t i = 0; i < sizes.size(); ++i)
    out.append(i == 0 ? "" : i + 1 == sizes.size() ? " or " : ", ").append(text(sizes[i]));
  return out;
}

}  // namespace

std::optional<MeshMisfit> find_misfit(const ParallelismConfig& config, int64_t world_size) {
  const int64_t tp = config.tensor_model_parallel_size, pp = config.pipeline_model_parallel_size,
                cp = config.context_parallel_size;
  const int64_t ep = config.expert_model_parallel_size, etp = config.expert_tensor_parallel_size,
                instances = config.num_distributed_optimizer_instances;
  if (world_size % (tp * pp * cp) != 0)
    return MeshMisfit{culprit(config),
                      "tensor x pipeline x context = " + text(tp) + " x " + text(pp) + " x " + text(cp) +
                          " does not divide the " + text(world_size) + " ranks",
                      "start a multiple of " + text(tp * pp * cp) + " ranks, or lower one of the sizes"};
  if (world_size % (etp * ep * pp) != 0)
    return MeshMisfit{"parallelism.expert_model_parallel_size",
                      "expert tensor x expert x pipeline = " + text(etp) + " x " + text(ep) + " x " + text(pp) +
                          " does not divide the " + text(world_size) + " ranks",
                      "start a multiple of " + text(etp * ep * pp) + " ranks, or lower one of the sizes"};
  const int64_t replicas = world_size / (tp * pp);
  if (replicas % instances != 0)
    return MeshMisfit{"parallelism.num_distributed_optimizer_instances",
                      text(instances) + " does not divide the " + text(replicas) + " ranks that share the state",
                      divisors(replicas)};
  return std::nullopt;
}

MeshSizes::MeshSizes(const ParallelismConfig& config, int64_t world_size) : MeshSizes() {
  if (const auto misfit = find_misfit(config, world_size))
    throw PlanError{"", misfit->key, misfit->reason, misfit->suggestion};
  const auto set = [this](Axis axis, int64_t size) { sizes_[static_cast<size_t>(axis)] = size; };
  const int64_t stages = config.pipeline_model_parallel_size;
  set(Axis::tensor, config.tensor_model_parallel_size);
  set(Axis::context, config.context_parallel_size);
  set(Axis::pipeline, stages);
  set(Axis::expert_tensor, config.expert_tensor_parallel_size);
  set(Axis::expert, config.expert_model_parallel_size);
  set(Axis::data, world_size / (config.tensor_model_parallel_size * config.context_parallel_size * stages));
  set(Axis::expert_data,
      world_size / (config.expert_tensor_parallel_size * config.expert_model_parallel_size * stages));
  instances_ = config.num_distributed_optimizer_instances;
}

int64_t MeshSizes::world_size() const {
  int64_t product = 1;
  for (const Axis axis : kDenseGrid) product *= (*this)[axis];
  return product;
}

Mesh::Mesh(MeshSizes sizes, int rank) : sizes_(sizes), rank_(rank) {
  if (rank < 0 || rank >= sizes.world_size())
    throw PlanError{"mesh", "rank " + text(rank), "is not among the " + text(sizes.world_size()) + " of the mesh"};
}

int64_t Mesh::size(Axes axes) const {
  int64_t product = 1;
  for (const Axis axis : axes) product *= sizes_[axis];
  return product;
}

int64_t Mesh::coordinate(Axis axis) const {
  int64_t rest = rank_;
  for (const Axis each : grid_of(std::span(&axis, 1))) {
    if (each == axis) return rest % sizes_[axis];
    rest /= sizes_[each];
  }
  return 0;
}

std::vector<int> Mesh::members(std::span<const Axis> axes) const {
  std::vector<int> ranks{0};
  int64_t stride = 1;
  for (const Axis axis : grid_of(axes)) {
    const int64_t first = is_in(axes, axis) ? 0 : coordinate(axis), end = is_in(axes, axis) ? sizes_[axis] : first + 1;
    std::vector<int> longer;
    for (int64_t at = first; at < end; ++at)
      for (const int rank : ranks) longer.push_back(rank + static_cast<int>(at * stride));
    ranks = std::move(longer);
    stride *= sizes_[axis];
  }
  return ranks;
}

std::vector<int> Mesh::shard_members() const {
  const std::vector<int> all = members({Axis::data, Axis::context});
  const size_t length = all.size() / static_cast<size_t>(sizes_.num_distributed_optimizer_instances());
  const size_t mine = static_cast<size_t>(std::find(all.begin(), all.end(), rank_) - all.begin()),
               first = mine / length * length;
  return {all.begin() + static_cast<std::ptrdiff_t>(first), all.begin() + static_cast<std::ptrdiff_t>(first + length)};
}

std::vector<int> Mesh::replica_members() const {
  const std::vector<int> all = members({Axis::data, Axis::context});
  const size_t length = all.size() / static_cast<size_t>(sizes_.num_distributed_optimizer_instances());
  const size_t mine = static_cast<size_t>(std::find(all.begin(), all.end(), rank_) - all.begin());
  std::vector<int> ranks;
  for (size_t at = mine % length; at < all.size(); at += length) ranks.push_back(all[at]);
  return ranks;
}

std::string group_name(std::span<const Axis> axes) {
  std::string joined;
  for (const Axis axis : axes) joined.append(joined.empty() ? "" : "_").append(name(axis));
  return joined;
}

}  // namespace nemo
