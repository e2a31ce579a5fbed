#include "recipes/dry_run.h"

#include <algorithm>
#include <memory>

#include "parallel/comm/counting_group.h"
#include "recipes/trainer.h"

namespace nemo {
namespace {

MicroBatch empty_batch(const Recipe& recipe) {
  const int64_t samples = recipe.data.micro_batch_size, length = recipe.model.seq_length;
  const size_t tokens = static_cast<size_t>(samples * length);
  MicroBatch batch{.micro_batch_size = samples, .seq_length = length, .tokens = std::vector<int32_t>(tokens), .labels = std::vector<int32_t>(tokens),
                   .positions = std::vector<int32_t>(tokens), .segment_offsets = {}, .sample_numbers = std::vector<int64_t>(static_cast<size_t>(samples)), .num_loss_tokens = samples * length};
  for (int64_t i = 0; i <= samples; ++i) batch.segment_offsets.push_back(static_cast<int32_t>(i * length));
  return batch;
}

// One rank's step, among ranks that only count.
ArenaStats walk_step(const Recipe& recipe, const Plan& plan, DeviceType stands_for, int rank) {
  const int world_size = static_cast<int>(plan.world_size);
  Runtime runtime({.type = DeviceType::meta, .stands_for = stands_for});
  CountingGroups counting(rank, world_size);
  std::unique_ptr<MeshGroups> groups;
  if (world_size > 1) groups = std::make_unique<MeshGroups>(Mesh(MeshSizes(recipe.parallelism, world_size), rank), counting);
  Trainer trainer(runtime, trainer_options(recipe, plan), groups.get());
  // The second micro-batch meets gradients that are there already; more of them change nothing, once a pipeline is full.
  const int64_t enough = 2 * recipe.parallelism.pipeline_model_parallel_size;
  const std::vector<MicroBatch> batches(static_cast<size_t>(std::min(plan.gradient_accumulation_steps, enough)), empty_batch(recipe));
  trainer.step(1, batches);
  if (recipe.trainer.val_check_interval > 0) trainer.validate(batches);
  return runtime.arena().stats();
}

}  // namespace

ArenaStats estimate_memory(const Recipe& recipe, const Plan& plan, DeviceType stands_for) {
  // Ranks differ by their pipeline stage; the stages are equal parts of the ranks, in order.
  ArenaStats largest;
  const int64_t stages = recipe.parallelism.pipeline_model_parallel_size;
  for (int64_t stage = 0; stage < stages; ++stage) {
    const ArenaStats stats = walk_step(recipe, plan, stands_for, static_cast<int>(plan.world_size / stages * stage));
    if (stats.peak_bytes > largest.peak_bytes) largest = stats;
  }
  return largest;
}

}  // namespace nemo
