// What follows from a recipe once the number of ranks is known: batch arithmetic, mesh sizes, padded vocabulary, costs.
// Each derived value is computed here and nowhere else. Not here: memory, which the dry run measures.
#pragma once
#include <cstdint>
#include <optional>

#include "models/decoder/accounting.h"

namespace nemo {

struct Recipe;

struct PlanInputs {
  int64_t world_size = 1;
  std::optional<int64_t> tokenizer_vocab_size;  // where the tokenizer has been read
};

struct Plan {
  int64_t world_size, data_parallel_size, expert_data_parallel_size;
  int64_t gradient_accumulation_steps;        // micro batches of one replica in a step
  int64_t samples_per_step, tokens_per_step;  // over all ranks
  double total_tokens;                        // of the whole run
  // Where the vocabulary is known, from the recipe or the tokenizer:
  std::optional<int64_t> vocab_size, padded_vocab_size, num_parameters;
  std::optional<FlopsPerToken> flops_per_token;
};

// Ranks the recipe asks for: its cluster's GPUs on Slurm, else the least that its model parallelism needs.
int64_t natural_world_size(const Recipe& recipe);

// RecipeError (place, key, reason, suggestion) where the layout cannot cut the model, the batch or the world, or where
// the tokenizer has more tokens than the model.
Plan make_plan(const Recipe& recipe, const PlanInputs& inputs);

}  // namespace nemo
