// Names of the enums in recipes/*_config.h, as recipes spell them.
#include "recipes/cluster_config.h"
#include "recipes/peft_config.h"
#include "recipes/run_config.h"

namespace nemo {

std::span<const std::string_view> enum_names(Precision) {
  static constexpr std::string_view kNames[] = {"bf16-mixed", "bf16", "fp32", "fp8-mixed"};
  return kNames;
}

std::span<const std::string_view> enum_names(ClusterType) {
  static constexpr std::string_view kNames[] = {"local", "slurm"};
  return kNames;
}

std::span<const std::string_view> enum_names(PeftScheme) {
  static constexpr std::string_view kNames[] = {"none", "lora", "dora", "ptuning"};
  return kNames;
}

}  // namespace nemo
