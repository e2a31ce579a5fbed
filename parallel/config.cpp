#include "parallel/config.h"

namespace nemo {

std::span<const std::string_view> enum_names(ContextParallelComm) {
  static constexpr std::string_view kNames[] = {"p2p", "all_gather", "a2a"};
  return kNames;
}

std::span<const std::string_view> enum_names(DataParallelSharding) {
  static constexpr std::string_view kNames[] = {"no_shard", "optim", "optim_grads", "optim_grads_params"};
  return kNames;
}

std::span<const std::string_view> enum_names(PipelineSchedule) {
  static constexpr std::string_view kNames[] = {"1f1b", "zero_bubble"};
  return kNames;
}

}  // namespace nemo
