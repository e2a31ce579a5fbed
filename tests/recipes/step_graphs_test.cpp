// A step replayed is a step: the same bits as one run kernel by kernel. The GPU cases are hidden unless asked for with
// "[cuda]".
#include "recipes/step_graphs.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <map>
#include <random>

#include "core/checkpoint/checkpoint_folder.h"
#include "core/error.h"
#include "recipes/dry_run.h"
#include "recipes/pretrain.h"
#include "recipes/run_data.h"
#include "recipes/trainer.h"
#include "tests/temporary_folder.h"

namespace nemo::test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRecipe = R"(
run: {name: test}
trainer: {max_steps: 6, precision: fp32, deterministic: true, val_check_interval: 4, limit_val_batches: 2}
model: {family: llama, num_layers: 2, hidden_size: 128, num_attention_heads: 2, num_query_groups: 1, ffn_hidden_size: 256, seq_length: 128,
        hidden_dropout: 0.1, attention_dropout: 0.1, embedding_dropout: 0.1}
data: {split: "80,20,0", micro_batch_size: 2, global_batch_size: 4}
tokenizer: {type: byte}
optim: {lr: 3e-3, sched: {warmup_steps: 3, min_lr: 1e-4}}
)";
constexpr Device kCuda{.type = DeviceType::cuda};

Recipe recipe_in(const TemporaryFolder& folder, std::vector<std::string> overrides) {
  const fs::path text = folder / "text.txt";
  if (!fs::exists(text)) {
    std::ofstream out(text);
    for (int i = 0; i < 2000; ++i) out << "the cat number " << i % 17 << " sat on the mat number " << i % 5 << ".\n";
  }
  overrides.insert(overrides.begin(), {"data.text=" + text.string(), "run.results_dir=" + folder.path()});
  return parse_recipe(kRecipe, "test.yaml", overrides, RecipeFolders({}));
}

// Losses and gradient norms of each step, and what the last checkpoint holds, by tensor.
struct Outcome {
  std::vector<double> losses, grad_norms;
  std::map<std::string, std::string> checksums;
  fs::path checkpoint;
};
Outcome outcome_of(const Recipe& recipe, Device device, int64_t stop_at = 0) {
  Outcome outcome;
  RunEvents events;
  int64_t seen = 0;
  events.on_step = [&](const StepMetrics& metrics) {
    outcome.losses.push_back(metrics.loss);
    outcome.grad_norms.push_back(metrics.grad_norm);
  };
  events.stop_requested = [&] { return ++seen == stop_at; };
  outcome.checkpoint = pretrain(recipe, {.device = device}, events).checkpoint;
  const CheckpointFolder folder(outcome.checkpoint.string());
  for (const StoredBox& box : folder.manifest().boxes) outcome.checksums[box.box.tensor] = box.checksum;
  return outcome;
}

MicroBatch random_batch(int64_t samples, int64_t length, int64_t first_sample) {
  std::mt19937 engine(static_cast<unsigned>(first_sample));
  MicroBatch batch{.micro_batch_size = samples,
                   .seq_length = length,
                   .tokens = {},
                   .labels = {},
                   .positions = {},
                   .segment_offsets = {0},
                   .sample_numbers = {},
                   .num_loss_tokens = samples * length};
  for (int64_t s = 0; s < samples; ++s) {
    for (int64_t i = 0; i < length; ++i) {
      batch.tokens.push_back(static_cast<int32_t>(engine() % 256));
      batch.labels.push_back(static_cast<int32_t>(engine() % 256));
      batch.positions.push_back(static_cast<int32_t>(i));
    }
    batch.segment_offsets.push_back(static_cast<int32_t>((s + 1) * length));
    batch.sample_numbers.push_back(first_sample + s);
  }
  return batch;
}

// Weights after steps over given batches.
std::vector<std::vector<float>> weights_of(Trainer& trainer) {
  std::vector<std::vector<float>> weights;
  for (const Parameter* parameter : trainer.store().parameters())
    weights.push_back(trainer.store().read(trainer.ctx(), *parameter));
  return weights;
}

TrainerOptions options_of(const TemporaryFolder& folder, std::vector<std::string> overrides) {
  const Recipe recipe = recipe_in(folder, std::move(overrides));
  return trainer_options(recipe, plan_run(recipe, open_tokenizer(recipe).get()));
}

}  // namespace

TEST_CASE("the setting changes nothing where there are no graphs", "[pretrain]") {
  const TemporaryFolder folder;
  std::vector<std::vector<std::vector<float>>> weights;
  for (const char* setting : {"trainer.cuda_graph=true", "trainer.cuda_graph=false"}) {
    Runtime runtime({}, false);
    Trainer trainer(runtime, options_of(folder, {setting, "model.seq_length=16"}));
    trainer.initialise();
    for (int64_t step = 1; step <= 3; ++step)
      trainer.step(step, std::vector{random_batch(2, 16, 4 * step), random_batch(2, 16, 4 * step + 2)});
    CHECK(trainer.graphs().num_graphs() == 0);
    CHECK(runtime.arena().transient_live_bytes() == 0);
    weights.push_back(weights_of(trainer));
  }
  CHECK(weights[0] == weights[1]);
}

TEST_CASE("batches of one size are placed at the same addresses", "[pretrain]") {
  Runtime runtime({}, false);
  ExecContext ctx(runtime, DType::fp32);
  BatchBuffers buffers(ctx, 32);
  const TokenLayout first = buffers.place(ctx, random_batch(2, 16, 0));
  const MicroBatch batch = random_batch(4, 8, 7);
  const TokenLayout second = buffers.place(ctx, batch);
  CHECK(first.ids.raw() == second.ids.raw());
  CHECK(first.query_begin.raw() == second.query_begin.raw());
  CHECK_FALSE(shape_of(first) == shape_of(second));
  CHECK(second.num_segments == 4);
  CHECK(second.uniform);
  for (int64_t i = 0; i < 32; ++i) {
    CHECK(second.ids.data<int32_t>()[i] == batch.tokens[i]);
    CHECK(second.labels.data<int32_t>()[i] == batch.labels[i]);
    CHECK(second.positions.data<int32_t>()[i] == i % 8);
    CHECK(second.token_ids.data<int64_t>()[i] == 7 * 8 + i);
  }
  for (int64_t i = 0; i < 4; ++i) {
    CHECK(second.query_begin.data<int32_t>()[i] == 8 * i);
    CHECK(second.key_end.data<int32_t>()[i] == 8 * i + 8);
  }
}

TEST_CASE("a run with graphs gives the same bits as one without on CUDA", "[.][cuda]") {
  // Dropout takes our own attention kernel, none takes the library's.
  const std::string precision = GENERATE("fp32", "bf16-mixed"), dropout = GENERATE("0.1", "0");
  const std::string batch_size = GENERATE("2", "4", "8");  // 1, 2 and 4 micro-batches a step
  CAPTURE(precision, dropout, batch_size);
  std::vector<Outcome> outcomes;
  for (const char* setting : {"trainer.cuda_graph=true", "trainer.cuda_graph=false"}) {
    const TemporaryFolder folder;
    outcomes.push_back(
        outcome_of(recipe_in(folder, {setting, "trainer.precision=" + precision, "model.attention_dropout=" + dropout,
                                      "data.global_batch_size=" + batch_size}),
                   kCuda));
  }
  REQUIRE(outcomes[0].losses.size() == 6);
  CHECK(outcomes[0].losses == outcomes[1].losses);
  CHECK(outcomes[0].grad_norms == outcomes[1].grad_norms);
  REQUIRE(outcomes[0].checksums.size() > 20);
  CHECK(outcomes[0].checksums == outcomes[1].checksums);
}

TEST_CASE("a run with graphs, stopped and resumed, gives the same bits on CUDA", "[.][cuda]") {
  const TemporaryFolder whole, parts;
  const Outcome straight = outcome_of(recipe_in(whole, {}), kCuda);
  const int64_t stop_at = GENERATE(1, 3, 5);
  const Recipe recipe = recipe_in(parts, {"checkpoint.resume_if_exists=true"});
  outcome_of(recipe, kCuda, stop_at);
  CHECK(outcome_of(recipe, kCuda).checksums == straight.checksums);
}

TEST_CASE("what is recorded, and what runs kernel by kernel, on CUDA", "[.][cuda]") {
  const TemporaryFolder folder;
  std::vector<std::vector<std::vector<float>>> weights;
  std::vector<size_t> peaks;
  for (const bool graphs : {true, false}) {
    Runtime runtime(kCuda, false);
    TrainerOptions options = options_of(folder, {"trainer.deterministic=true"});
    options.cuda_graph = graphs;
    Trainer trainer(runtime, options);
    trainer.initialise();
    const auto step = [&](int64_t number, int64_t micro_batches, int64_t samples) {
      std::vector<MicroBatch> batches;
      for (int64_t i = 0; i < micro_batches; ++i)
        batches.push_back(random_batch(samples, 128, 100 * number + i * samples));
      return trainer.step(number, batches).get();
    };
    const auto num_graphs = [&] { return trainer.graphs().num_graphs(); };
    step(1, 2, 2);
    CHECK(num_graphs() == 0);
    peaks.push_back(runtime.arena().stats().peak_bytes);
    step(2, 2, 2);
    CHECK(num_graphs() == (graphs ? 3 : 0));  // first micro-batch, the other, update
    step(3, 2, 2);
    step(4, 1, 2);  // one micro-batch: the first one's graph serves
    CHECK(num_graphs() == (graphs ? 3 : 0));
    CHECK(runtime.arena().stats().peak_bytes == peaks.back());
    step(5, 1, 3);  // another shape runs as it is at first
    CHECK(num_graphs() == (graphs ? 3 : 0));
    step(6, 1, 3);
    CHECK(num_graphs() == (graphs ? 4 : 0));
    MicroBatch cut = random_batch(2, 128, 700);
    cut.segment_offsets = {0, 50, 128, 256};
    for (int64_t number = 7; number < 10; ++number) trainer.step(number, {&cut, 1});
    CHECK(num_graphs() == (graphs ? 4 : 0));
    const MicroBatch batch = random_batch(2, 128, 800);
    trainer.validate({&batch, 1});
    step(10, 2, 2);
    weights.push_back(weights_of(trainer));
    if (!graphs) continue;
    const LeaseScope transient(runtime.arena(), Lifetime::transient);
    const DeviceBuffer held(runtime.arena(), 1000, MemoryTag::activations);
    CHECK_THROWS_AS(step(11, 1, 2), DeviceError);
  }
  CHECK(weights[0] == weights[1]);
  CHECK(peaks[0] == peaks[1]);
}

TEST_CASE("an error while a step is recorded leaves the stream usable, on CUDA", "[.][cuda]") {
  Runtime runtime(kCuda, false);
  CHECK_THROWS_AS(CapturedGraph(runtime.arena(), runtime.stream(),
                                [&] {
                                  throw DeviceError{"cuda", "test", "stops", ""};
                                }),
                  DeviceError);
  CHECK_THROWS_AS(CapturedGraph(runtime.arena(), runtime.stream(), [&] { runtime.stream().synchronize(); }),
                  std::exception);  // waiting is not allowed
  runtime.stream().synchronize();
  const CapturedGraph empty(runtime.arena(), runtime.stream(), [] {});
  empty.launch(runtime.stream());
  runtime.stream().synchronize();
}

}  // namespace nemo::test
