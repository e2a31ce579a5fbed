// Whole runs on the CPU: learning, exact resume, guards, stopping, and what is refused.
#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>

#include "core/checkpoint/checkpoint_folder.h"
#include "core/device/runtime.h"
#include "core/error.h"
#include "core/tensor/tensor.h"
#include "recipes/dry_run.h"
#include "recipes/pretrain.h"
#include "recipes/run_data.h"
#include "tests/temporary_folder.h"

namespace nemo::test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRecipe = R"(
run: {name: test}
trainer: {max_steps: 8, precision: fp32, val_check_interval: 4, limit_val_batches: 2}
model: {family: llama, num_layers: 2, hidden_size: 32, num_attention_heads: 4, num_query_groups: 2, ffn_hidden_size: 48, seq_length: 16,
        hidden_dropout: 0.1, attention_dropout: 0.1, embedding_dropout: 0.1}
data: {split: "90,10,0", micro_batch_size: 2, global_batch_size: 6}
tokenizer: {type: byte}
optim: {lr: 3e-3, sched: {warmup_steps: 3, min_lr: 1e-4}}
)";

Recipe recipe_in(const TemporaryFolder& folder, std::vector<std::string> overrides = {}) {
  const fs::path text = folder / "text.txt";
  if (!fs::exists(text)) {
    std::ofstream out(text);
    for (int i = 0; i < 400; ++i) out << "the cat number " << i % 17 << " sat on the mat number " << i % 5 << ".\n";
  }
  overrides.insert(overrides.begin(), {"data.text=" + text.string(), "run.results_dir=" + folder.path()});
  return parse_recipe(kRecipe, "test.yaml", overrides, RecipeFolders({}));
}

// Checksums of all that the newest checkpoint of a run holds, by tensor.
std::map<std::string, std::string> contents(const fs::path& checkpoint) {
  std::map<std::string, std::string> sums;
  const CheckpointFolder folder(checkpoint.string());
  for (const StoredBox& box : folder.manifest().boxes) sums[box.box.tensor] = box.checksum;
  return sums;
}

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("a small model learns its text", "[pretrain]") {
  const TemporaryFolder folder;
  const Recipe recipe = recipe_in(folder, {"trainer.max_steps=60", "data.global_batch_size=8", "optim.lr=1e-2", "checkpoint.save=none"});
  std::vector<StepMetrics> steps;
  RunEvents events;
  events.on_step = [&](const StepMetrics& metrics) { steps.push_back(metrics); };
  const RunResult result = pretrain(recipe, {}, events);
  REQUIRE(steps.size() == 60);
  CHECK(steps.front().loss == Approx(std::log(256.0)).margin(0.2));  // uniform over bytes
  CHECK(result.validation_loss.value() < 2.2);
  CHECK(steps.back().tokens_per_s > 0);
  CHECK(steps.back().consumed_samples == 480);
  CHECK_FALSE(result.stopped);
  std::ifstream log(folder / "test/metrics.jsonl");
  std::string text{std::istreambuf_iterator<char>(log), {}};
  CHECK(std::count(text.begin(), text.end(), '\n') == 60 + 15);
}

TEST_CASE("all-bf16 states learn as fp32 does", "[pretrain]") {
  const TemporaryFolder folder;
  const auto last_loss = [&](std::vector<std::string> states) {
    states.insert(states.end(), {"trainer.max_steps=120", "data.global_batch_size=8", "optim.lr=5e-3", "checkpoint.save=none", "trainer.val_check_interval=120", "trainer.limit_val_batches=8"});
    return pretrain(recipe_in(folder, states), {}, {}).validation_loss.value();
  };
  const double fp32 = last_loss({"trainer.precision=fp32"});
  CHECK(fp32 < 1.0);
  CHECK(last_loss({"trainer.precision=bf16", "optim.moment_dtype=bf16", "optim.grad_reduce_in_fp32=false"}) == Approx(fp32).epsilon(0.05));
}

TEST_CASE("a run stopped at any step and resumed gives the same bits", "[pretrain]") {
  const std::vector<std::string> states = GENERATE(values<std::vector<std::string>>({
      {"trainer.precision=fp32"},
      {"trainer.precision=bf16-mixed"},
      {"trainer.precision=fp8-mixed"},
      {"trainer.precision=fp8-mixed", "optim.master_dtype=bf16", "optim.moment_dtype=bf16", "optim.grad_reduce_in_fp32=false"},
      {"trainer.precision=bf16", "optim.moment_dtype=bf16", "optim.grad_reduce_in_fp32=false"},
  }));
  const TemporaryFolder whole, parts;
  const RunResult straight = pretrain(recipe_in(whole, states), {}, {});
  const std::map<std::string, std::string> expected = contents(straight.checkpoint);
  REQUIRE(expected.size() > 20);
  CHECK(expected.contains("master/embedding.weight") == (states.size() == 1 && states.front().ends_with("-mixed")));

  const int64_t stop_at = GENERATE(1, 4, 7);
  std::vector<std::string> overrides = states;
  overrides.push_back("checkpoint.resume_if_exists=true");
  const Recipe recipe = recipe_in(parts, overrides);
  RunEvents events;
  int64_t seen = 0;
  events.stop_requested = [&] { return ++seen == stop_at; };
  const RunResult first = pretrain(recipe, {}, events);
  CHECK(first.stopped);
  CHECK(first.steps == stop_at);
  const RunResult second = pretrain(recipe, {}, {});
  CHECK(second.steps == 8);
  CHECK(contents(second.checkpoint) == expected);
  CHECK(second.loss == straight.loss);
  CHECK(second.validation_loss == straight.validation_loss);
}

TEST_CASE("a second run does not resume unless it is told to", "[pretrain]") {
  const TemporaryFolder folder;
  const Recipe recipe = recipe_in(folder, {"trainer.max_steps=2", "trainer.val_check_interval=null"});
  pretrain(recipe, {}, {});
  int steps = 0;
  RunEvents events;
  events.on_step = [&](const StepMetrics&) { ++steps; };
  pretrain(recipe, {}, events);
  CHECK(steps == 2);
}

TEST_CASE("a step that is not finite leaves the weights alone and is counted", "[pretrain]") {
  const TemporaryFolder folder;
  // A rate of 1e30 breaks the weights in the first step: the second one's loss is not finite.
  const Recipe recipe = recipe_in(folder, {"optim.lr=1e30", "optim.sched.warmup_steps=0", "optim.weight_decay=0", "trainer.max_steps=3", "checkpoint.save=none", "trainer.val_check_interval=null"});
  std::vector<StepMetrics> steps;
  RunEvents events;
  events.on_step = [&](const StepMetrics& metrics) { steps.push_back(metrics); };
  pretrain(recipe, {}, events);
  CHECK_FALSE(steps[0].skipped);
  CHECK(steps[1].skipped);
  CHECK(steps[2].skipped);
  CHECK(steps[2].skipped_steps == 2);
}

TEST_CASE("max_time stops a run, which saves", "[pretrain]") {
  const TemporaryFolder folder;
  const RunResult result = pretrain(recipe_in(folder, {"trainer.max_steps=1000000", "trainer.max_time=0.2", "trainer.val_check_interval=null"}), {}, {});
  CHECK(result.stopped);
  CHECK(fs::exists(result.checkpoint / "manifest.json"));
}

TEST_CASE("the dry run predicts the run's peak", "[pretrain]") {
  const TemporaryFolder folder;
  std::vector<std::string> overrides = GENERATE(values<std::vector<std::string>>({
      {"trainer.precision=fp32"},
      {"trainer.precision=bf16", "optim.moment_dtype=bf16", "optim.grad_reduce_in_fp32=false"},
  }));
  overrides.insert(overrides.end(), {"trainer.max_steps=2", "checkpoint.save=none", "trainer.val_check_interval=2"});
  const Recipe recipe = recipe_in(folder, overrides);
  size_t measured = 0;
  RunEvents events;
  events.on_step = [&](const StepMetrics& metrics) { measured = metrics.memory_bytes; };
  pretrain(recipe, {}, events);
  const Plan plan = make_plan(recipe, {.world_size = 1, .tokenizer_vocab_size = open_tokenizer(recipe)->vocab_size()});
  CHECK(static_cast<double>(estimate_memory(recipe, plan, DeviceType::cpu).peak_bytes) == Approx(static_cast<double>(measured)).epsilon(0.01));
}

TEST_CASE("what a run refuses", "[pretrain]") {
  const TemporaryFolder folder;
  const auto refused = [&](std::vector<std::string> overrides) { return message_of([&] { pretrain(recipe_in(folder, std::move(overrides)), {}, {}); }); };
  using Catch::Contains;
  CHECK_THAT(refused({"data.text=null"}), Contains("data") && Contains("nothing to train on") && Contains("data.text=FILE"));
  CHECK_THAT(refused({"data.text=" + (folder / "none.txt")}), Contains("none.txt") && Contains("cannot be read"));
  std::ofstream(folder / "empty.txt").close();
  CHECK_THAT(refused({"data.text=" + (folder / "empty.txt")}), Contains("empty.txt") && Contains("is empty"));
  std::ofstream(folder / "short.txt") << "too short";
  CHECK_THAT(refused({"data.text=" + (folder / "short.txt")}), Contains("train"));
  CHECK_THAT(refused({"model.vocab_size=100"}), Contains("model.vocab_size") && Contains("100 is below the tokenizer's 257 tokens"));
  CHECK_THAT(refused({"data.global_batch_size=5"}), Contains("global_batch_size"));
  CHECK_THAT(refused({"tokenizer.type=none", "model.vocab_size=300"}), Contains("tokenizer.type") && Contains("data.text is text"));
  CHECK_THAT(refused({"checkpoint.load=" + (folder / "nowhere")}), Contains("nowhere"));
  CHECK_THAT(message_of([&] {
               Runtime runtime({}, false, size_t{1} << 20);
               Tensor(runtime.arena(), {1 << 20}, DType::fp32, MemoryTag::activations);
             }),
             Contains("out of memory") && Contains("data.micro_batch_size"));
}

}  // namespace nemo::test
