#include "recipes/availability.h"

#include <algorithm>

#include "core/config/print.h"
#include "core/error.h"
#include "recipes/schema.h"

namespace nemo {
namespace {

// A key and the values (as print_yaml writes them) that work today. A row goes when its feature comes.
struct AvailableValues {
  std::string_view key;
  std::vector<std::string_view> values;
};

const std::vector<AvailableValues>& available_values() {
  static const std::vector<AvailableValues> kRows = {
      {"run.time_limit", {"null"}},
      {"run.dependency", {"null"}},
      {"cluster.type", {"local"}},
      {"trainer.precision", {"bf16-mixed", "bf16", "fp32", "fp8-mixed"}},
      {"model.cpu_offloading", {"false"}},
      {"parallelism.expert_model_parallel_size", {"1"}},
      {"parallelism.expert_tensor_parallel_size", {"1"}},
      {"data.rampup_batch_size", {"[]"}},
      {"data.packed_sequence", {"false"}},
      {"tokenizer.type", {"none", "byte", "char", "huggingface"}},
      {"optim.name", {"adamw"}},
      {"optim.sched.name", {"CosineAnnealing", "Linear", "Constant"}},
      {"checkpoint.save_top_k", {"0"}},
      {"checkpoint.also_save_hf", {"false"}},
      {"peft.scheme", {"none"}},
      {"logger.tensorboard", {"false"}},
      {"logger.report", {"false"}},
  };
  return kRows;
}

}  // namespace

std::vector<UnavailableSetting> list_unavailable_settings(const Recipe& recipe) {
  std::vector<UnavailableSetting> found;
  Recipe copy = recipe;  // fields() hands out places to write to
  const std::vector<Field> fields = list_fields(copy);
  for (const LeafField& leaf : list_leaves(fields)) {
    for (const AvailableValues& row : available_values()) {
      if (leaf.path != row.key) continue;
      const std::string value = value_text(*leaf.field);
      if (std::find(row.values.begin(), row.values.end(), value) != row.values.end()) continue;
      std::string works;
      for (const std::string_view each : row.values) works += (works.empty() ? "" : ", ") + std::string(each);
      found.push_back({leaf.path, value, recipe.places.where(leaf.path), works});
    }
  }
  return found;
}

void require_available(const Recipe& recipe) {
  const auto settings = list_unavailable_settings(recipe);
  if (settings.empty()) return;
  const UnavailableSetting& first = settings.front();
  throw RecipeError{first.place, first.key, first.value + " is not available yet in this version", first.available};
}

}  // namespace nemo
