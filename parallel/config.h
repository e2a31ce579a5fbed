// The recipe's `parallelism` section: how many ranks cut what. Not here: the mesh made from it, and its checks
// (recipes/plan.h).
#pragma once
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/config/field.h"

namespace nemo {

enum class ContextParallelComm : uint8_t { p2p, all_gather, a2a };
enum class DataParallelSharding : uint8_t { no_shard, optim, optim_grads, optim_grads_params };

// one_forward_one_backward: Narayanan et al. 2021, arXiv:2104.04473, section 2.2; with several chunks on each stage it is
// interleaved. zero_bubble: ZB-H1 of Qi et al. 2023, arXiv:2401.10241: weight gradients apart from input gradients, run where the
// stage would wait, with the activation memory of one_forward_one_backward.
enum class PipelineSchedule : uint8_t { one_forward_one_backward, zero_bubble };

std::span<const std::string_view> enum_names(ContextParallelComm);
std::span<const std::string_view> enum_names(DataParallelSharding);
std::span<const std::string_view> enum_names(PipelineSchedule);

struct ParallelismConfig {
  int64_t tensor_model_parallel_size = 1;
  bool sequence_parallel = false;
  int64_t pipeline_model_parallel_size = 1;
  int64_t virtual_pipeline_model_parallel_size = 1;
  std::vector<int64_t> pipeline_model_parallel_layout;  // empty: equal counts
  PipelineSchedule pipeline_schedule = PipelineSchedule::one_forward_one_backward;
  int64_t context_parallel_size = 1;
  ContextParallelComm cp_comm_type = ContextParallelComm::p2p;
  int64_t expert_model_parallel_size = 1;
  int64_t expert_tensor_parallel_size = 1;
  DataParallelSharding data_parallel_sharding_strategy = DataParallelSharding::no_shard;
  int64_t num_distributed_optimizer_instances = 1;
  double comm_timeout_s = 600;

  template <class Visit>
  void fields(Visit&& visit) {
    visit("tensor_model_parallel_size", tensor_model_parallel_size, "ranks that share each matrix", Positive{},
          AtMost{1e6});
    visit("sequence_parallel", sequence_parallel,
          "cut the regions between matrices along the sequence over the tensor ranks");
    visit("pipeline_model_parallel_size", pipeline_model_parallel_size, "stages of consecutive layers", Positive{},
          AtMost{1e6});
    visit("virtual_pipeline_model_parallel_size", virtual_pipeline_model_parallel_size,
          "chunks of layers on each stage (interleaving)", Positive{}, AtMost{1e6});
    visit("pipeline_model_parallel_layout", pipeline_model_parallel_layout,
          "layers of each stage in the order of the model, chunk by chunk; null: equal counts", AtLeast{0}, AtMost{1e4},
          Optional{});
    visit("pipeline_schedule", pipeline_schedule,
          "1f1b (interleaved where stages have chunks), or zero_bubble: weight gradients fill the waiting");
    visit("context_parallel_size", context_parallel_size, "ranks that share each sequence", Positive{}, AtMost{1e6});
    visit("cp_comm_type", cp_comm_type, "how they exchange keys and values");
    visit("expert_model_parallel_size", expert_model_parallel_size, "ranks that share the experts of a layer",
          Positive{}, AtMost{1e6});
    visit("expert_tensor_parallel_size", expert_tensor_parallel_size, "ranks that share each expert's matrices",
          Positive{}, AtMost{1e6});
    visit("data_parallel_sharding_strategy", data_parallel_sharding_strategy,
          "what data-parallel ranks share out: nothing, optimizer state, also gradients, also parameters");
    visit("num_distributed_optimizer_instances", num_distributed_optimizer_instances,
          "copies of the sharded state over the data-parallel ranks", Positive{}, AtMost{1e6});
    visit("comm_timeout_s", comm_timeout_s,
          "seconds after which ranks that do not meet end the run with a report of where each stands", Positive{},
          AtMost{1e6});
  }
};

}  // namespace nemo
