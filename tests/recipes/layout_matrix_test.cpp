// The matrix of layouts (tabular): under each of them a tiny model's losses and gradient norms are those of one rank.
#include <catch2/catch.hpp>

#include <map>

#include "core/error.h"
#include "parallel/comm/counting_group.h"
#include "tests/recipes/layouts.h"

namespace nemo::test {
namespace {

using enum DataParallelSharding;
using enum ContextParallelComm;

// A row's settings beyond the number of ranks; what is not named is one rank wide.
struct Cut {
  int64_t tp = 1;
  bool sp = false;
  int64_t cp = 1;
  ContextParallelComm comm = ContextParallelComm::p2p;
  int64_t pp = 1, vpp = 1;
  DataParallelSharding sharding = no_shard;
  int64_t instances = 1;
  std::vector<int64_t> layers = {};
  PipelineSchedule schedule = PipelineSchedule::one_forward_one_backward;
};

struct Row {
  Layout layout;
  TinyModel model = {};
  std::string same_bits_as = "";  // a row of the same model above this one: no sum is taken in another order
};

Layout ranks(const std::string& name, int world_size, const Cut& cut, int64_t micro_batch_size = 1, bool overlap = true) {
  ParallelismConfig parallelism;
  parallelism.tensor_model_parallel_size = cut.tp;
  parallelism.sequence_parallel = cut.sp;
  parallelism.context_parallel_size = cut.cp;
  parallelism.cp_comm_type = cut.comm;
  parallelism.pipeline_model_parallel_size = cut.pp;
  parallelism.virtual_pipeline_model_parallel_size = cut.vpp;
  parallelism.data_parallel_sharding_strategy = cut.sharding;
  parallelism.num_distributed_optimizer_instances = cut.instances;
  parallelism.pipeline_model_parallel_layout = cut.layers;
  parallelism.pipeline_schedule = cut.schedule;
  return {name, world_size, parallelism, micro_batch_size, overlap};
}

constexpr auto kZeroBubble = PipelineSchedule::zero_bubble;
const TinyModel kLlama{.family = "llama", .tied = false}, kTiedLlama{.family = "llama", .tied = true}, kGpt{.family = "gpt", .tied = true},
    kUntiedGpt{.family = "gpt", .tied = false}, kOneGroup{.family = "llama", .tied = false, .num_query_groups = 1}, kQwen{.family = "qwen3", .tied = true};

const std::vector<Row>& rows() {
  static const std::vector<Row> kRows = {
      {ranks("one", 1, {}), kLlama},
      {ranks("one", 1, {}), kTiedLlama},
      {ranks("one", 1, {}), kGpt},
      {ranks("one", 1, {}), kUntiedGpt},
      {ranks("one, micro batches of 4", 1, {}, 4), kGpt},
      {ranks("one", 1, {}), kOneGroup},
      {ranks("one", 1, {}), kQwen},
      // data parallel
      {ranks("dp2", 2, {}), kLlama},
      {ranks("dp2, micro batches of 4", 2, {}, 4), kLlama},
      {ranks("dp4", 4, {}, 2), kGpt},
      {ranks("dp4, no overlap", 4, {}, 2, false), kGpt, "dp4"},
      {ranks("dp8", 8, {}), kTiedLlama},
      {ranks("dp2 optim", 2, {.sharding = optim}), kLlama, "dp2"},
      {ranks("dp4 optim", 4, {.sharding = optim}, 2), kGpt, "dp4"},
      {ranks("dp4 optim, no overlap", 4, {.sharding = optim}, 2, false), kGpt, "dp4"},
      {ranks("dp8 optim", 8, {.sharding = optim}), kTiedLlama, "dp8"},
      {ranks("dp2 optim_grads", 2, {.sharding = optim_grads}), kLlama},
      {ranks("dp4 optim_grads", 4, {.sharding = optim_grads}, 2), kGpt, "dp4"},
      {ranks("dp8 optim_grads", 8, {.sharding = optim_grads}), kTiedLlama, "dp8"},
      {ranks("dp2 fsdp", 2, {.sharding = optim_grads_params}), kLlama, "dp2 optim_grads"},
      {ranks("dp2 fsdp, no overlap", 2, {.sharding = optim_grads_params}, 1, false), kLlama, "dp2 optim_grads"},
      {ranks("dp2 fsdp", 2, {.sharding = optim_grads_params}, 2), kGpt},
      {ranks("dp2 fsdp", 2, {.sharding = optim_grads_params}, 4), kTiedLlama},
      {ranks("dp4 fsdp", 4, {.sharding = optim_grads_params}, 2), kGpt, "dp4"},
      {ranks("dp8 fsdp", 8, {.sharding = optim_grads_params}), kTiedLlama, "dp8"},
      {ranks("dp8 fsdp", 8, {.sharding = optim_grads_params}), kUntiedGpt},
      {ranks("dp4 optim in 2 instances", 4, {.sharding = optim, .instances = 2}), kGpt},
      {ranks("dp4 fsdp in 2 instances", 4, {.sharding = optim_grads_params, .instances = 2}), kLlama},
      {ranks("dp8 fsdp in 4 instances", 8, {.sharding = optim_grads_params, .instances = 4}), kGpt},
      {ranks("dp8 fsdp in 2 instances", 8, {.sharding = optim_grads_params, .instances = 2}), kTiedLlama},
      // pipeline
      {ranks("pp2", 2, {.pp = 2}), kLlama, "one"},
      {ranks("pp4", 4, {.pp = 4}), kUntiedGpt, "one"},
      {ranks("pp2", 2, {.pp = 2}), kGpt},
      {ranks("pp4", 4, {.pp = 4}), kTiedLlama},
      {ranks("pp4, 2 micro batches", 4, {.pp = 4}, 4), kGpt},
      {ranks("pp2 in 2 chunks", 2, {.pp = 2, .vpp = 2}), kLlama, "one"},
      {ranks("pp2 in 2 chunks", 2, {.pp = 2, .vpp = 2}), kGpt, "pp2"},
      {ranks("pp2 in 2 chunks, 2 micro batches", 2, {.pp = 2, .vpp = 2}, 4), kTiedLlama},
      {ranks("pp4 of 0 2 2 0", 4, {.pp = 4, .layers = {0, 2, 2, 0}}), kUntiedGpt, "one"},
      {ranks("pp2 of 3 1", 2, {.pp = 2, .layers = {3, 1}}), kTiedLlama},
      {ranks("pp2 in 2 chunks of 1 2 1 0", 2, {.pp = 2, .vpp = 2, .layers = {1, 2, 1, 0}}), kLlama, "one"},
      {ranks("pp2 zero bubble", 2, {.pp = 2, .schedule = kZeroBubble}), kLlama, "one"},
      {ranks("pp4 zero bubble", 4, {.pp = 4, .schedule = kZeroBubble}), kTiedLlama, "pp4"},
      {ranks("pp4 zero bubble of 1 1 2 0", 4, {.pp = 4, .layers = {1, 1, 2, 0}, .schedule = kZeroBubble}, 2), kGpt},
      // pairs
      {ranks("dp2 pp2", 4, {.pp = 2}), kGpt},
      {ranks("dp4 pp2", 8, {.pp = 2}), kTiedLlama},
      {ranks("dp2 pp4", 8, {.pp = 4}, 2), kLlama},
      {ranks("dp2 pp2 optim", 4, {.pp = 2, .sharding = optim}), kGpt, "dp2 pp2"},
      {ranks("dp4 pp2 optim", 8, {.pp = 2, .sharding = optim}), kTiedLlama, "dp4 pp2"},
      {ranks("dp2 pp4 optim", 8, {.pp = 4, .sharding = optim}, 2), kLlama, "dp2 pp4"},
      {ranks("dp2 pp2 optim_grads", 4, {.pp = 2, .sharding = optim_grads}), kGpt},
      {ranks("dp2 pp2 fsdp", 4, {.pp = 2, .sharding = optim_grads_params}), kGpt, "dp2 pp2 optim_grads"},
      {ranks("dp4 pp2 fsdp in 2 instances", 8, {.pp = 2, .sharding = optim_grads_params, .instances = 2}), kTiedLlama},
      {ranks("dp2 pp2 in 2 chunks, optim", 4, {.pp = 2, .vpp = 2, .sharding = optim}), kGpt, "dp2 pp2"},
      {ranks("dp2 pp2 in 2 chunks, fsdp", 4, {.pp = 2, .vpp = 2, .sharding = optim_grads_params}), kLlama},
      {ranks("dp2 pp2 zero bubble, optim", 4, {.pp = 2, .sharding = optim, .schedule = kZeroBubble}), kGpt, "dp2 pp2"},
      {ranks("dp2 pp4 zero bubble, optim", 8, {.pp = 4, .sharding = optim, .schedule = kZeroBubble}), kTiedLlama},
      // tensor and sequence parallel
      {ranks("tp2", 2, {.tp = 2}), kLlama},
      {ranks("tp2", 2, {.tp = 2}, 4), kGpt},
      {ranks("tp4", 4, {.tp = 4}), kLlama},
      {ranks("tp4", 4, {.tp = 4}), kUntiedGpt},
      {ranks("tp2 sp", 2, {.tp = 2, .sp = true}), kTiedLlama},
      {ranks("tp2 sp", 2, {.tp = 2, .sp = true}, 2), kGpt},
      {ranks("tp4 sp", 4, {.tp = 4, .sp = true}), kGpt},
      {ranks("tp2", 2, {.tp = 2}), kOneGroup},
      {ranks("tp4 sp", 4, {.tp = 4, .sp = true}), kOneGroup},
      {ranks("tp4 sp", 4, {.tp = 4, .sp = true}), kLlama},
      {ranks("tp4 sp", 4, {.tp = 4, .sp = true}), kQwen},
      // context parallel
      {ranks("cp2 all_gather", 2, {.cp = 2, .comm = all_gather}), kLlama},
      {ranks("cp2 p2p", 2, {.cp = 2, .comm = p2p}), kLlama},
      {ranks("cp2 a2a", 2, {.cp = 2, .comm = a2a}), kLlama},
      {ranks("cp2 p2p", 2, {.cp = 2, .comm = p2p}, 4), kGpt},
      {ranks("cp4 all_gather", 4, {.cp = 4, .comm = all_gather}), kGpt},
      {ranks("cp4 p2p", 4, {.cp = 4, .comm = p2p}), kTiedLlama},
      {ranks("cp4 a2a", 4, {.cp = 4, .comm = a2a}), kGpt},
      {ranks("cp8 p2p", 8, {.cp = 8, .comm = p2p}), kLlama},
      // their pairs and triples
      {ranks("tp2 sp cp2 all_gather", 4, {.tp = 2, .sp = true, .cp = 2, .comm = all_gather}), kLlama},
      {ranks("tp2 sp cp2 p2p", 4, {.tp = 2, .sp = true, .cp = 2, .comm = p2p}), kGpt},
      {ranks("tp2 sp cp2 a2a", 4, {.tp = 2, .sp = true, .cp = 2, .comm = a2a}), kGpt},
      {ranks("tp2 sp cp4 p2p", 8, {.tp = 2, .sp = true, .cp = 4, .comm = p2p}), kOneGroup},
      {ranks("tp2 sp dp2", 4, {.tp = 2, .sp = true}), kLlama},
      {ranks("tp2 sp dp2 optim", 4, {.tp = 2, .sp = true, .sharding = optim}), kLlama, "tp2 sp dp2"},
      {ranks("tp2 sp dp2 optim_grads", 4, {.tp = 2, .sp = true, .sharding = optim_grads}), kGpt},
      {ranks("tp2 sp dp2 fsdp", 4, {.tp = 2, .sp = true, .sharding = optim_grads_params}), kGpt, "tp2 sp dp2 optim_grads"},
      {ranks("tp4 sp dp2 fsdp", 8, {.tp = 4, .sp = true, .sharding = optim_grads_params}), kOneGroup},
      {ranks("cp2 dp2", 4, {.cp = 2}), kLlama},
      {ranks("cp2 dp2 fsdp", 4, {.cp = 2, .sharding = optim_grads_params}), kTiedLlama},
      {ranks("cp2 dp2 optim, a2a", 4, {.cp = 2, .comm = a2a, .sharding = optim}), kGpt},
      {ranks("tp2 pp2", 4, {.tp = 2, .pp = 2}), kLlama, "tp2"},
      {ranks("tp2 sp pp2", 4, {.tp = 2, .sp = true, .pp = 2}), kGpt},
      {ranks("tp2 sp pp2 in 2 chunks", 4, {.tp = 2, .sp = true, .pp = 2, .vpp = 2}), kTiedLlama},
      {ranks("tp2 sp pp2 zero bubble", 4, {.tp = 2, .sp = true, .pp = 2, .schedule = kZeroBubble}), kLlama},
      {ranks("cp2 pp2", 4, {.cp = 2, .pp = 2}), kLlama, "cp2 p2p"},
      {ranks("tp2 pp2 dp2", 8, {.tp = 2, .pp = 2}), kGpt},
      {ranks("tp2 sp pp2 dp2 optim", 8, {.tp = 2, .sp = true, .pp = 2, .sharding = optim}), kTiedLlama},
      {ranks("tp2 sp pp2 dp2 fsdp", 8, {.tp = 2, .sp = true, .pp = 2, .sharding = optim_grads_params}), kOneGroup},
      {ranks("tp2 sp cp2 dp2 fsdp", 8, {.tp = 2, .sp = true, .cp = 2, .sharding = optim_grads_params}), kLlama},
      {ranks("tp2 sp cp2 pp2", 8, {.tp = 2, .sp = true, .cp = 2, .comm = all_gather, .pp = 2}), kGpt},
  };
  return kRows;
}

std::string model_name(const TinyModel& model) {
  return model.family + (model.tied ? ", tied" : ", untied") + (model.num_query_groups > 0 ? ", " + std::to_string(model.num_query_groups) + " groups" : "");
}

}  // namespace

TEST_CASE("every layout trains as one rank does", "[layouts]") {
  std::map<std::string, std::vector<StepNumbers>> done;
  for (const Row& row : rows()) {
    const std::string of_model = " (" + model_name(row.model) + ")", name = row.layout.name + of_model;
    INFO(name);
    std::vector<StepNumbers> numbers;
    std::string error;
    try {
      numbers = train_under(row.model, row.layout, {.last = 10});
      if (const auto one = done.find("one" + of_model); one != done.end()) expect_close(numbers, one->second, 1e-5);
      if (!row.same_bits_as.empty()) expect_close(numbers, done.at(row.same_bits_as + of_model), 0);
    } catch (const std::exception& caught) {
      error = caught.what();
    }
    CHECK(error == "");
    done[name] = numbers;
  }
}

// What a rank of a run holds and sends, walked on the meta device.
struct Walked {
  ArenaStats memory;
  CommCounts sent;
};

static Walked walk(const TinyModel& model, const Layout& layout) {
  CountingGroups counting(0, layout.world_size);
  MeshGroups groups(Mesh(MeshSizes(layout.parallelism, layout.world_size), 0), counting);
  Runtime runtime({.type = DeviceType::meta});
  Trainer trainer(runtime, tiny_options(model, layout), &groups);
  trainer.step(1, tiny_batches(1, 2));
  return {runtime.arena().stats(), counting.counts()};
}

TEST_CASE("shared state takes less memory, and the bytes sent are those of the plan", "[layouts]") {
  const TinyModel model{.family = "llama", .tied = false, .num_layers = 8};
  const auto of = [&](DataParallelSharding sharding) { return walk(model, ranks("dp8", 8, {.sharding = sharding})); };
  const Walked whole = of(no_shard), state = of(optim), gradients = of(optim_grads), all = of(optim_grads_params);
  const auto peak = [](const Walked& walked, MemoryTag tag) { return static_cast<double>(walked.memory.live_by_tag[static_cast<size_t>(tag)]); };
  // Between steps: parameters and gradients of 4 bytes, moments of 8, an eighth of what is shared.
  const double bytes = peak(whole, MemoryTag::parameters);
  CHECK(peak(whole, MemoryTag::optimizer) == Approx(2 * bytes).epsilon(0.05));
  CHECK(peak(state, MemoryTag::optimizer) == Approx(2 * bytes / 8).epsilon(0.2));
  CHECK(peak(state, MemoryTag::gradients) == Approx(bytes).epsilon(0.2));
  CHECK(peak(gradients, MemoryTag::gradients) == Approx(bytes / 8).epsilon(0.2));
  CHECK(peak(gradients, MemoryTag::parameters) == Approx(bytes).epsilon(0.2));
  CHECK(peak(all, MemoryTag::parameters) == Approx(bytes / 8).epsilon(0.2));
  CHECK(all.memory.peak_bytes < gradients.memory.peak_bytes);
  CHECK(gradients.memory.peak_bytes < state.memory.peak_bytes);
  CHECK(state.memory.peak_bytes < whole.memory.peak_bytes);

  const auto sent = [](const Walked& walked, const char* collective) {
    double sum = 0;
    for (const auto& [key, count] : walked.sent)
      if (key.second == collective) sum += static_cast<double>(count.sent_bytes);
    return sum;
  };
  // Two micro-batches. All-reduce once; or scatter once and gather once; or scatter each time, gather once; FSDP gathers for each
  // forward and backward, but not the head again, nor the embedding in the backward.
  CHECK(sent(whole, "all_reduce") == Approx(2 * bytes * 7 / 8).epsilon(0.05));
  CHECK(sent(state, "reduce_scatter") == Approx(bytes * 7 / 8).epsilon(0.2));
  CHECK(sent(state, "all_gather") == Approx(bytes * 7 / 8).epsilon(0.2));
  CHECK(sent(gradients, "reduce_scatter") == Approx(2 * bytes * 7 / 8).epsilon(0.2));
  const double padded = 8 * peak(all, MemoryTag::parameters);  // each buffer to a multiple of the ranks
  CHECK(sent(all, "all_gather") < 4 * padded * 7 / 8);
  CHECK(sent(all, "all_gather") > 3 * padded * 7 / 8);
}

}  // namespace nemo::test
