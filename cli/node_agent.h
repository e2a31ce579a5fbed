// One machine's part in a run of several machines: meets the others at an endpoint, runs its ranks, and restarts
// together. Not here: the ranks as processes (cli/local_ranks.h).
#pragma once
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "parallel/store/socket.h"

namespace nemo {

struct NodeAgentOptions {
  int num_nodes = 1, ranks_per_node = 1, max_restarts = 0;
  Endpoint rendezvous = {};  // an address of one of the machines; the first agent there serves the store
  std::chrono::milliseconds join_timeout =
      std::chrono::minutes(10);           // for all nodes to come, at the start and after a failure
  std::vector<std::string> command = {};  // of each rank
  std::function<void(const std::string& line)> say = {};
};

// Returns the exit code to end with. CommError: the others do not come, there are too many, or were started with other
// numbers.
int run_node_agent(const NodeAgentOptions& options);

Endpoint parse_endpoint(const std::string& text);  // "host:29500", "[::1]:29500"; UsageError

}  // namespace nemo
