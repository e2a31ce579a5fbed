#include <catch2/catch.hpp>

#include "tests/cli/nemo_process.h"
#include "tests/recipes/recipe_folder.h"

using Catch::Matchers::Contains;
using Catch::Matchers::EndsWith;
using nemo::testing::RecipeFolder;
using nemo::testing::run_nemo;

TEST_CASE("recipes ls lists what pretrain can be given, with a title each", "[cli]") {
  const auto result = run_nemo({"recipes", "ls"});
  CHECK(result.exit_code == 0);
  CHECK_THAT(result.out, Contains("\ngpt2_124m      GPT-2 124M") && Contains("char_gpt_cpu") && !Contains("_pretrain"));
  CHECK_THAT(run_nemo({"recipes", "ls", "--presets"}).out,
             Contains("llama3_8b           8.030      32    4096     32       8   14336   128256"));
}

TEST_CASE("recipes show prints a recipe that can be used in its place", "[cli]") {
  const auto shown = run_nemo({"recipes", "show", "gpt2_124m", "optim.lr=1e-4"});
  CHECK(shown.exit_code == 0);
  CHECK_THAT(shown.out, Contains("  preset: gpt2_124m\n") && Contains("  lr: 1e-04\n"));
  const RecipeFolder folder({{"resolved.yaml", shown.out}});
  CHECK(run_nemo({"recipes", "show", folder.file("resolved.yaml")}).out == shown.out);
  CHECK_THAT(run_nemo({"recipes", "show", "gpt2_124m", "--source"}).out, Catch::StartsWith("# GPT-2 124M"));
}

TEST_CASE("recipes keys documents every section or one", "[cli]") {
  const auto all = run_nemo({"recipes", "keys"}), optim = run_nemo({"recipes", "keys", "optim"});
  CHECK_THAT(all.out, Contains("trainer.max_steps = 1000   (integer, above 0") && Contains("also read as train_iters"));
  CHECK_THAT(optim.out,
             Contains("optim.lr = 3e-04   (number, above 0)\n      peak learning rate\n") && !Contains("trainer.max_steps = "));
  const auto unknown = run_nemo({"recipes", "keys", "optimizer"});
  CHECK(unknown.exit_code == 2);
  CHECK(unknown.err == "nemo: optimizer: is not a section of a recipe; try: nemo recipes keys optim\n");
}

TEST_CASE("recipes validate checks all it is given and exits with 2 if one is wrong", "[cli]") {
  const auto shipped = run_nemo({"recipes", "validate", "--all"});
  CHECK(shipped.exit_code == 0);
  CHECK_THAT(shipped.out, Contains("llama3_8b: ok\n"));
  const RecipeFolder folder({{"bad.yaml", "model:\n  num_layer: 2\n"}, {"good.yaml", ""}});
  const std::string bad = folder.file("bad.yaml"), good = folder.file("good.yaml");
  const auto mixed = run_nemo({"recipes", "validate", bad, good});
  CHECK(mixed.exit_code == 2);
  CHECK(mixed.out == bad + ": " + bad + ":2: model.num_layer: unknown key; try: num_layers\n" + good + ": ok\n");
  CHECK(run_nemo({"recipes", "validate", good, "data.global_batch_size=3", "data.micro_batch_size=2"}).exit_code == 2);
  CHECK_THAT(run_nemo({"recipes", "validate", good, "logger.report=true"}).out,
             EndsWith("not available yet in this version; try: false\n"));
  CHECK(run_nemo({"recipes", "validate"}).exit_code == 2);
  CHECK(run_nemo({"recipes"}).exit_code == 2);
}
