// Which rank this process is, when something else started it: nemo itself, torchrun or srun. Not here: starting ranks
// (cli/local_ranks.h).
#pragma once
#include <functional>
#include <optional>
#include <string>

#include "parallel/store/socket.h"

namespace nemo {

struct RankEnvironment {
  int rank = 0, world_size = 1, local_rank = 0;
  Endpoint store = {};
  bool serves_store = false;  // this rank is to open the store that all ranks meet at
  std::string store_prefix = {};
  std::string source = {};  // who said so: "RANK and WORLD_SIZE", "srun"
};

// lookup: getenv. None: this process stands alone. UsageError for an environment that contradicts itself.
std::optional<RankEnvironment> read_rank_environment(const std::function<const char*(const char*)>& lookup);

// "node07" of Slurm's "node[07-09,12],big1".
std::string first_node(const std::string& node_list);

}  // namespace nemo
