#include "recipes/schema.h"

#include <catch2/catch.hpp>

#include "core/error.h"
#include "models/registry.h"
#include "tests/recipes/recipe_folder.h"

using namespace nemo;
using nemo::testing::RecipeFolder;

namespace {

const RecipeFolders kLibrary({NEMO_SOURCE_DIR "/recipes/library"});

Recipe parse(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
  return parse_recipe(yaml, "r.yaml", overrides, kLibrary);
}

}  // namespace

TEST_CASE("an empty recipe is a GPT with every default", "[recipes]") {
  const Recipe recipe = parse("");
  CHECK(recipe.run.name == "r");
  CHECK(recipe.run.seed == 1234);
  CHECK(recipe.trainer.gradient_clip_val == 1.0);
  CHECK(recipe.tokenizer.make_vocab_size_divisible_by == 128);
  CHECK(recipe.model.head_dim == 64);
  CHECK(recipe.checkpoint.resume_if_exists == false);
  CHECK(recipe.notices.empty());
}

TEST_CASE("a preset fills the model, written keys override it, and each says where it is from", "[recipes]") {
  const Recipe recipe = parse("model:\n  num_layers: 2\n  preset: llama3_8b\n", {"model.seq_length=128"});
  CHECK(recipe.model.num_layers == 2);
  CHECK(recipe.model.seq_length == 128);
  CHECK(recipe.model.ffn_hidden_size == 14336);
  CHECK(recipe.model.family == "llama");
  const auto origin = [&](const char* key) { return recipe.places.origin(key).describe(); };
  CHECK(origin("model.num_layers") == "recipe r.yaml:2");
  CHECK(origin("model.preset") == "recipe r.yaml:3");
  CHECK(origin("model.seq_length") == "command line");
  CHECK(origin("model.ffn_hidden_size") == "preset llama3_8b");
  CHECK(origin("model.head_dim") == "derived");
  CHECK(origin("optim.lr") == "default");
  CHECK(origin("run.name") == "derived");
}

TEST_CASE("a family alone brings its defaults", "[recipes]") {
  const Recipe recipe = parse("model: {family: qwen3, hidden_size: 64, num_attention_heads: 4}\n");
  CHECK(recipe.model.qk_norm);
  CHECK(recipe.model.activation == MlpActivation::swiglu);
  CHECK(recipe.model.head_dim == 128);
  CHECK(recipe.places.origin("model.qk_norm").describe() == "family qwen3");
}

TEST_CASE("presets and families that cannot be", "[recipes]") {
  CHECK_THROWS_WITH(parse("model:\n  preset: llama3_9b\n"),
                    "r.yaml:2: model.preset: no preset is called \"llama3_9b\"; try: llama3_8b");
  CHECK_THROWS_WITH(parse("model:\n  preset: gpt2_124m\n  family: llama\n"),
                    "r.yaml:3: model.family: \"llama\" contradicts preset gpt2_124m, which is of family gpt; try: "
                    "remove one of the two");
  CHECK_THROWS_WITH(
      parse("model: {family: lama}"),
      "r.yaml:1: model.family: needs one of gpt, llama, mistral, qwen2, qwen3, found \"lama\"; try: llama");
}

TEST_CASE("bases, the recipe and overrides are put above each other", "[recipes]") {
  const RecipeFolder folder({{"base.yaml", "trainer: {max_steps: 1, train_iters: 2}\n"},
                             {"good.yaml", "optim:\n  lr: 1e-3\n  betas: [0.9, 0.99]\n"},
                             {"mine.yaml", "base: good.yaml\noptim:\n  lr: 2e-3\n"}});
  const std::vector<std::string> overrides = {"optim.weight_decay=0", "optim.weight_decay=0.2"};
  const Recipe recipe = load_recipe(folder.file("mine.yaml"), overrides, kLibrary);
  CHECK(recipe.optim.lr == 2e-3);
  CHECK(recipe.optim.betas[1] == 0.99);
  CHECK(recipe.optim.weight_decay == 0.2);
  CHECK(recipe.places.origin("optim.lr").describe() == "recipe mine.yaml:3");
  CHECK(recipe.places.origin("optim.betas").describe() == "base good.yaml:3");
  CHECK(recipe.run.name == "mine");
  CHECK_THROWS_WITH(load_recipe(folder.file("base.yaml"), {}, kLibrary),
                    folder.file("base.yaml") +
                        ":1: trainer.train_iters: another name of trainer.max_steps, which is given at " +
                        folder.file("base.yaml") + ":1; try: remove one of the two");
}

TEST_CASE("every alias of the field's other projects is read and reported", "[recipes]") {
  const Recipe recipe = parse(R"(
trainer: {train_iters: 7, clip_grad: 0.5, eval_interval: 3, eval_iters: 4}
model: {kv_channels: 32}
data: {data_prefix: [a], index_mapping_dir: cache}
checkpoint: {restore_from_path: there}
)");
  CHECK(recipe.trainer.max_steps == 7);
  CHECK(recipe.trainer.gradient_clip_val == 0.5);
  CHECK(recipe.trainer.val_check_interval == 3);
  CHECK(recipe.trainer.limit_val_batches == 4);
  CHECK(recipe.model.head_dim == 32);
  CHECK(recipe.data.blend == std::vector<std::string>{"a"});
  CHECK(recipe.data.path_to_cache == "cache");
  CHECK(recipe.checkpoint.load == "there");
  CHECK(recipe.notices.size() == 9);  // eight aliases, and that path_to_cache has no effect
  CHECK(recipe.notices[0] == "r.yaml:2: trainer.train_iters is read as trainer.max_steps");
}

TEST_CASE("unknown keys and wrong types name file, line and the nearest key", "[recipes]") {
  CHECK_THROWS_WITH(parse("model:\n  num_layer: 3\n"), "r.yaml:2: model.num_layer: unknown key; try: num_layers");
  CHECK_THROWS_WITH(parse("modle: {}\n"), "r.yaml:1: modle: unknown section; try: model");
  CHECK_THROWS_WITH(parse("data:\n  seq_length: 3\n"), "r.yaml:2: data.seq_length: unknown key; try: model.seq_length");
  CHECK_THROWS_WITH(parse("", {"optim.learning_rate=1"}),
                    Catch::StartsWith("command line: optim.learning_rate: unknown key; try: one of name, lr, betas"));
  CHECK_THROWS_WITH(parse("optim: {lr: fast}\n"), "r.yaml:1: optim.lr: needs a number, found \"fast\"");
  CHECK_THROWS_WITH(parse("optim: {lr: 0}\n"), "r.yaml:1: optim.lr: must be above 0, found 0");
  CHECK_THROWS_WITH(parse("model: {num_query_groups: 5}\n"),
                    "r.yaml:1: model.num_query_groups: 5 does not divide num_attention_heads (12); try: use 4 or 6");
  CHECK_THROWS_WITH(parse("model: {preset: llama2_7b}\n", {"model.seq_length=8192"}),
                    "command line: model.seq_length: 8192 is beyond the model's max_position_embeddings (4096); try: "
                    "use seq_length=4096 or less");
}

TEST_CASE("what the schedule leaves open follows from max_steps", "[recipes]") {
  CHECK(parse("trainer: {max_steps: 100}\noptim: {sched: {warmup_steps: 10}}").optim.sched.decay_steps == 90);
  CHECK(parse("trainer: {max_steps: 100}\noptim: {sched: {warmup_steps: 10, constant_steps: 30}}")
            .optim.sched.decay_steps == 60);
  CHECK(parse("trainer: {max_steps: 100}\noptim: {sched: {decay_steps: 40}}").optim.sched.decay_steps == 40);
  const ScheduleConfig wsd =
      parse("trainer: {max_steps: 100}\noptim: {sched: {name: WSD, warmup_steps: 10, decay_steps: 20}}").optim.sched;
  CHECK(wsd.constant_steps == 70);
  const Recipe short_run = parse("trainer: {max_steps: 5}\noptim:\n  sched: {warmup_steps: 10}");
  CHECK(short_run.optim.sched.decay_steps == 0);
  CHECK(short_run.notices ==
        std::vector<std::string>{
            "r.yaml:3: optim.sched.warmup_steps: the whole run (5 steps) is warm-up, which takes 10"});
}

TEST_CASE("a printed recipe reads back to the same recipe", "[recipes]") {
  for (const std::string& name : kLibrary.names()) {
    CAPTURE(name);
    const std::vector<std::string> overrides = {"run.seed=7", "optim.eps=3.3333333333333335e-9",
                                                "trainer.max_time=01:30:00"};
    const Recipe recipe = load_recipe(name, overrides, kLibrary);
    const std::string printed = print_recipe(recipe);
    const Recipe again = parse_recipe(printed, "resolved.yaml", {}, kLibrary);
    CHECK(print_recipe(again) == printed);
    CHECK(again.model == recipe.model);
    CHECK(again.optim.eps == 3.3333333333333335e-9);
    CHECK(again.trainer.max_time.value == 5400);
    CHECK(again.run.name == name);
  }
}

TEST_CASE("every preset has a recipe of its name", "[recipes]") {
  for (const Preset& preset : list_presets()) {
    CAPTURE(preset.name);
    const Recipe recipe = load_recipe(std::string(preset.name), {}, kLibrary);
    DecoderConfig resolved = preset.config;
    resolved.resolve();
    CHECK(recipe.model == resolved);
    CHECK(recipe.notices.empty());
  }
}

TEST_CASE("the character recipes are nanoGPT's published settings", "[recipes]") {
  const Recipe cpu = load_recipe("char_gpt_cpu", {}, kLibrary), gpu = load_recipe("char_gpt_gpu", {}, kLibrary);
  CHECK(cpu.model.num_layers == 4);
  CHECK(cpu.model.num_attention_heads == 4);
  CHECK(cpu.model.hidden_size == 128);
  CHECK(cpu.model.seq_length == 64);
  CHECK(cpu.data.global_batch_size == 12);
  CHECK(cpu.trainer.max_steps == 2000);
  CHECK(cpu.optim.lr == 1e-3);
  CHECK(cpu.optim.sched.min_lr == 1e-4);
  CHECK(cpu.optim.sched.warmup_steps == 100);
  CHECK(cpu.optim.sched.decay_steps == 1900);
  CHECK(cpu.optim.betas[1] == 0.99);
  CHECK(cpu.model.hidden_dropout == 0);
  CHECK(gpu.model.num_layers == 6);
  CHECK(gpu.model.num_attention_heads == 6);
  CHECK(gpu.model.hidden_size == 384);
  CHECK(gpu.model.seq_length == 256);
  CHECK(gpu.data.global_batch_size == 64);
  CHECK(gpu.trainer.max_steps == 5000);
  CHECK(gpu.model.hidden_dropout == 0.2);
  CHECK(gpu.model.attention_dropout == 0.2);
  CHECK(gpu.model.embedding_dropout == 0.2);
  CHECK(gpu.tokenizer.type == TokenizerType::character);
}
