// The recipe's `cluster` section: where a job runs. Not here: submitting it.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/config/field.h"

namespace nemo {

enum class ClusterType : uint8_t { local, slurm };

std::span<const std::string_view> enum_names(ClusterType);

struct ClusterConfig {
  ClusterType type = ClusterType::local;
  std::string account, partition;
  int64_t num_nodes = 1, gpus_per_node = 1;
  std::string container_image;
  std::vector<std::string> container_mounts;
  std::map<std::string, std::string> env_vars;
  bool exclusive = true;
  std::string mem;
  std::vector<std::string> srun_args;
  int64_t max_requeues = 0;

  template <class Visit>
  void fields(Visit&& visit) {
    visit("type", type, "this machine, or a Slurm cluster");
    visit("account", account, "Slurm account", Optional{});
    visit("partition", partition, "Slurm partition", Optional{});
    visit("num_nodes", num_nodes, "machines", Positive{}, AtMost{1e6});
    visit("gpus_per_node", gpus_per_node, "GPUs of each", Positive{}, AtMost{1e3});
    visit("container_image", container_image, "image to run in", Optional{});
    visit("container_mounts", container_mounts, "host:container folders", Optional{});
    visit("env_vars", env_vars, "environment of every rank", Optional{});
    visit("exclusive", exclusive, "no other job on these machines");
    visit("mem", mem, "memory of each machine, e.g. 0 for all or 64G", Optional{});
    visit("srun_args", srun_args, "further arguments of srun", Optional{});
    visit("max_requeues", max_requeues, "restarts after a failure", AtLeast{0});
  }
};

}  // namespace nemo
