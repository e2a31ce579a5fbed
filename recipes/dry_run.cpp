#include "recipes/dry_run.h"

#include <algorithm>

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

}  // namespace

ArenaStats estimate_memory(const Recipe& recipe, const Plan& plan, DeviceType stands_for) {
  Runtime runtime({.type = DeviceType::meta, .stands_for = stands_for});
  Trainer trainer(runtime, trainer_options(recipe, plan));
  // The second micro-batch meets gradients that are there already; more of them change nothing.
  const std::vector<MicroBatch> batches(static_cast<size_t>(std::min<int64_t>(plan.gradient_accumulation_steps, 2)), empty_batch(recipe));
  trainer.step(1, batches);
  if (recipe.trainer.val_check_interval > 0) trainer.validate(batches);
  return runtime.arena().stats();
}

}  // namespace nemo
