#include "recipes/plan.h"

#include <string>

#include "core/error.h"
#include "parallel/mesh.h"
#include "recipes/mesh_checks.h"
#include "recipes/schema.h"

namespace nemo {
namespace {

std::optional<int64_t> find_vocab_size(const Recipe& recipe, const PlanInputs& inputs) {
  const int64_t model = recipe.model.vocab_size;
  if (model == 0) return inputs.tokenizer_vocab_size;
  if (inputs.tokenizer_vocab_size && *inputs.tokenizer_vocab_size > model) {
    const std::string tokens = std::to_string(*inputs.tokenizer_vocab_size);
    throw RecipeError{recipe.places.where("model.vocab_size"), "model.vocab_size",
                      std::to_string(model) + " is below the tokenizer's " + tokens + " tokens",
                      "model.vocab_size=" + tokens + ", or another tokenizer"};
  }
  return model;
}

}  // namespace

int64_t natural_world_size(const Recipe& recipe) {
  const ParallelismConfig& mesh = recipe.parallelism;
  if (recipe.cluster.type == ClusterType::slurm) return recipe.cluster.num_nodes * recipe.cluster.gpus_per_node;
  return mesh.tensor_model_parallel_size * mesh.pipeline_model_parallel_size * mesh.context_parallel_size;
}

Plan make_plan(const Recipe& recipe, const PlanInputs& inputs) {
  check_mesh(recipe, inputs.world_size);
  const ParallelismConfig& mesh = recipe.parallelism;
  const MeshSizes sizes(mesh, inputs.world_size);

  Plan plan{};
  plan.world_size = inputs.world_size;
  plan.data_parallel_size = sizes[Axis::data];
  plan.expert_data_parallel_size = sizes[Axis::expert_data];
  plan.gradient_accumulation_steps =
      recipe.data.global_batch_size / (recipe.data.micro_batch_size * plan.data_parallel_size);
  plan.samples_per_step = recipe.data.global_batch_size;
  plan.tokens_per_step = plan.samples_per_step * recipe.model.seq_length;
  plan.total_tokens = static_cast<double>(plan.tokens_per_step) * static_cast<double>(recipe.trainer.max_steps);

  plan.vocab_size = find_vocab_size(recipe, inputs);
  if (plan.vocab_size) {
    const int64_t unit = recipe.tokenizer.make_vocab_size_divisible_by * mesh.tensor_model_parallel_size;
    plan.padded_vocab_size = (*plan.vocab_size + unit - 1) / unit * unit;
    DecoderConfig model = recipe.model;
    model.vocab_size = *plan.vocab_size;
    plan.num_parameters = count_parameters(model);
    plan.flops_per_token = count_flops(model);
  }
  return plan;
}

}  // namespace nemo
