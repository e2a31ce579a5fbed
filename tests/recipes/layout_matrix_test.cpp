// The matrix of layouts (tabular): under each of them a tiny model's losses and gradient norms are those of one rank.
#include <catch2/catch.hpp>

#include <map>

#include "core/error.h"
#include "tests/recipes/layouts.h"

namespace nemo::test {
namespace {

using enum DataParallelSharding;

// A row's settings beyond the number of ranks; what is not named is one rank wide.
struct Cut {
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
    kUntiedGpt{.family = "gpt", .tied = false};

const std::vector<Row>& rows() {
  static const std::vector<Row> kRows = {
      {ranks("one", 1, {}), kLlama},
      {ranks("one", 1, {}), kTiedLlama},
      {ranks("one", 1, {}), kGpt},
      {ranks("one", 1, {}), kUntiedGpt},
      {ranks("one, micro batches of 4", 1, {}, 4), kGpt},
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
  };
  return kRows;
}

std::string model_name(const TinyModel& model) { return model.family + (model.tied ? ", tied" : ", untied"); }

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

}  // namespace nemo::test
