#include "cli/rank_environment.h"

#include <charconv>

#include "core/error.h"

namespace nemo {
namespace {

using Lookup = std::function<const char*(const char*)>;

std::string value_of(const Lookup& lookup, const char* name) {
  const char* value = lookup(name);
  return value == nullptr ? "" : value;
}

int64_t number_of(const Lookup& lookup, const char* name, int64_t least, int64_t most) {
  const std::string text = value_of(lookup, name);
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < least || number > most)
    throw UsageError(
        "environment", name,
        text.empty() ? "is not set"
                     : "'" + text + "' is not a number from " + std::to_string(least) + " to " + std::to_string(most),
        "start ranks with nemo launch, torchrun --no-python or srun, or unset RANK and WORLD_SIZE");
  return number;
}

constexpr int64_t kMostRanks = 1 << 20, kMostPort = 65535;

RankEnvironment read_torchrun(const Lookup& lookup) {
  RankEnvironment ranks{.source = "RANK and WORLD_SIZE"};
  ranks.world_size = static_cast<int>(number_of(lookup, "WORLD_SIZE", 1, kMostRanks));
  ranks.rank = static_cast<int>(number_of(lookup, "RANK", 0, ranks.world_size - 1));
  if (ranks.world_size == 1) return ranks;
  ranks.local_rank = static_cast<int>(number_of(lookup, "LOCAL_RANK", 0, ranks.world_size - 1));
  ranks.store.host = value_of(lookup, "MASTER_ADDR");
  if (ranks.store.host.empty())
    throw UsageError("environment", "MASTER_ADDR", "is not set", "the address of rank 0's machine");
  ranks.store.port = static_cast<uint16_t>(number_of(lookup, "MASTER_PORT", 1, kMostPort));
  // torchrun's agent listens at MASTER_PORT itself then.
  if (value_of(lookup, "TORCHELASTIC_USE_AGENT_STORE") == "True") ++ranks.store.port;
  ranks.store_prefix = value_of(lookup, "NEMO_STORE_PREFIX");  // set by nemo's own launcher, which serves the store
  ranks.serves_store = ranks.rank == 0 && ranks.store_prefix.empty();
  return ranks;
}

RankEnvironment read_slurm(const Lookup& lookup) {
  RankEnvironment ranks{.source = "srun"};
  ranks.world_size = static_cast<int>(number_of(lookup, "SLURM_NTASKS", 1, kMostRanks));
  ranks.rank = static_cast<int>(number_of(lookup, "SLURM_PROCID", 0, ranks.world_size - 1));
  if (ranks.world_size == 1) return ranks;
  ranks.local_rank = static_cast<int>(number_of(lookup, "SLURM_LOCALID", 0, ranks.world_size - 1));
  ranks.store.host = value_of(lookup, "MASTER_ADDR");
  for (const char* list : {"SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST"})
    if (ranks.store.host.empty()) ranks.store.host = first_node(value_of(lookup, list));
  if (ranks.store.host.empty())
    throw UsageError("environment", "SLURM_JOB_NODELIST", "is not set", "MASTER_ADDR, the address of rank 0's machine");
  if (!value_of(lookup, "MASTER_PORT").empty()) {
    ranks.store.port = static_cast<uint16_t>(number_of(lookup, "MASTER_PORT", 1, kMostPort));
  } else {  // all tasks of a step work out the same one; those of other steps most likely another
    const int64_t job = number_of(lookup, "SLURM_JOB_ID", 0, int64_t{1} << 40);
    const int64_t step =
        value_of(lookup, "SLURM_STEP_ID").empty() ? 0 : number_of(lookup, "SLURM_STEP_ID", 0, int64_t{1} << 40);
    ranks.store.port = static_cast<uint16_t>(20000 + (job * 37 + step) % 10000);
  }
  ranks.serves_store = ranks.rank == 0;
  return ranks;
}

}  // namespace

std::string first_node(const std::string& node_list) {
  std::string node;
  for (size_t at = 0; at < node_list.size() && node_list[at] != ',';) {
    if (node_list[at] != '[') {
      node.push_back(node_list[at++]);
      continue;
    }
    const size_t end = node_list.find_first_of(",-]", at + 1), close = node_list.find(']', at);
    if (end == std::string::npos || close == std::string::npos) return "";
    node.append(node_list, at + 1, end - at - 1);
    at = close + 1;
  }
  return node;
}

std::optional<RankEnvironment> read_rank_environment(const Lookup& lookup) {
  const bool torchrun = lookup("RANK") != nullptr || lookup("WORLD_SIZE") != nullptr;
  if (!torchrun && lookup("SLURM_PROCID") == nullptr) return std::nullopt;
  RankEnvironment ranks = torchrun ? read_torchrun(lookup) : read_slurm(lookup);
  return ranks.world_size == 1 ? std::nullopt : std::optional(std::move(ranks));
}

}  // namespace nemo
