#include "recipes/availability.h"

#include <catch2/catch.hpp>
#include <set>

#include "core/config/print.h"
#include "core/error.h"
#include "recipes/schema.h"

using namespace nemo;

namespace {

Recipe parse(const std::string& yaml) {
  return parse_recipe(yaml, "r.yaml", {}, RecipeFolders({}));
}

}  // namespace

TEST_CASE("every default is available", "[recipes]") {
  CHECK(list_unavailable_settings(parse("")).empty());
  CHECK_NOTHROW(require_available(parse("")));
}

TEST_CASE("recompute can be asked for, and reads back", "[recipes][recompute]") {
  for (const char* yaml : {"model: {recompute_granularity: full}", "model: {recompute_granularity: full, recompute_method: block, recompute_num_layers: 2}",
                           "model: {recompute_granularity: selective}", "model: {recompute_granularity: null, recompute_method: null, recompute_num_layers: null, recompute_modules: null}"}) {
    CAPTURE(yaml);
    const Recipe recipe = parse(yaml);
    CHECK_NOTHROW(require_available(recipe));
    CHECK(parse(print_recipe(recipe)).model == recipe.model);
  }
  CHECK_THROWS_WITH(parse("model:\n  recompute_granularity: full\n  recompute_num_layers: 2\n"),
                    "r.yaml:3: model.recompute_num_layers: 2 needs a recompute_method to say of what; try: recompute_method=uniform for groups of 2, block for the first 2 layers");
}

TEST_CASE("a setting whose feature does not exist yet is refused, never ignored", "[recipes]") {
  CHECK_THROWS_WITH(
      require_available(parse("logger:\n  report: true\n")),
      "r.yaml:2: logger.report: true is not available yet in this version; try: false");
  const char* refused[] = {
      "run: {time_limit: 60}",
      "run: {dependency: singleton}",
      "cluster: {type: slurm}",
      "model: {cpu_offloading: true}",
      "parallelism: {expert_model_parallel_size: 2}",
      "data: {rampup_batch_size: [1, 1, 10]}",
      "data: {packed_sequence: true}",
      "tokenizer: {type: sentencepiece, model: a.model}",
      "optim: {name: lion}",
      "optim: {sched: {name: WSD}}",
      "checkpoint: {save_top_k: 1}",
      "peft: {scheme: lora}",
      "logger: {tensorboard: true}",
      "logger: {report: true}",
  };
  for (const char* yaml : refused) {
    CAPTURE(yaml);
    const Recipe recipe = parse(yaml);
    CHECK(list_unavailable_settings(recipe).size() == 1);
    CHECK_THROWS_AS(require_available(recipe), RecipeError);
  }
}
