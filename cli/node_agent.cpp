#include "cli/node_agent.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <charconv>
#include <optional>

#include "cli/command_error.h"
#include "cli/local_ranks.h"
#include "cli/start_ranks.h"
#include "parallel/store/store_client.h"
#include "parallel/store/store_server.h"

namespace nemo {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

class NodeAgent {
 public:
  explicit NodeAgent(const NodeAgentOptions& options) : options_(options) {}

  int run() {
    open_store();
    for (;;) {
      if (!join()) return 128 + signal_;
      const LocalRanksResult result = run_ranks();
      if (result.signal != 0 || result.exit_code == 0) return leave(result.exit_code);
      const std::string reason =
          store_->compare_set(key("failed"), std::nullopt, result.failed_rank ? result.reason : "a node failed");
      if (round_ >= options_.max_restarts) {
        say(reason + (options_.max_restarts > 0 ? "; no restart is left" : ""));
        return leave(result.exit_code);
      }
      say(reason + "; restart " + std::to_string(round_ + 1) + " of " + std::to_string(options_.max_restarts));
      store_->compare_set("round", round_ == 0 ? std::nullopt : std::optional(std::to_string(round_)),
                          std::to_string(round_ + 1));
    }
  }

 private:
  void say(const std::string& line) const { options_.say(line); }
  std::string key(const std::string& name) const { return name + "/" + std::to_string(round_); }
  std::string numbers() const {
    return "--nnodes " + std::to_string(options_.num_nodes) + " --nproc-per-node " +
           std::to_string(options_.ranks_per_node);
  }

  // Whoever can listen at the endpoint serves; where that fails somebody else does, here or on another machine.
  void open_store() {
    try {
      server_.emplace(options_.rendezvous);
    } catch (const CommError&) {
      // The connection below says what is wrong where nobody serves.
    }
    store_.emplace(options_.rendezvous, "launch/", options_.join_timeout);
    const std::string opened = store_->compare_set("numbers", std::nullopt, numbers());
    if (opened != numbers())
      throw UsageError("nemo launch", numbers(),
                       "the run at " + to_string(options_.rendezvous) + " was started with " + opened,
                       "the same numbers on every machine");
  }

  // False: a signal came.
  bool join() {
    round_ = std::stoi(store_->get("round").value_or("0"));
    node_ = static_cast<int>(store_->add(key("joined"), 1)) - 1;
    char host[256] = "";
    gethostname(host, sizeof(host) - 1);
    if (node_ >= options_.num_nodes)
      throw CommError{"nemo launch", std::string(host),
                      "all " + std::to_string(options_.num_nodes) + " nodes of the run at " +
                          to_string(options_.rendezvous) + " are there already",
                      "a larger --nnodes on every machine; after a node was lost, start this one again"};
    store_->set(key("node") + "/" + std::to_string(node_), host);
    if (node_ + 1 == options_.num_nodes) store_->set(key("complete"), "1");
    const Clock::time_point deadline = Clock::now() + options_.join_timeout;
    while (!store_->wait(key("complete"), milliseconds(200))) {
      signalfd_siginfo info;
      while (read(signals_.descriptor(), &info, sizeof(info)) == sizeof(info))
        if (info.ssi_signo != SIGCHLD) signal_ = static_cast<int>(info.ssi_signo);
      if (signal_ != 0) return false;
      if (Clock::now() >= deadline)
        throw CommError{"nemo launch", "nodes", who_came(),
                        "start nemo launch on every machine with the same --rdzv-endpoint"};
    }
    say("node " + std::to_string(node_) + " of " + std::to_string(options_.num_nodes) + ": ranks " +
        std::to_string(node_ * options_.ranks_per_node) + " to " +
        std::to_string((node_ + 1) * options_.ranks_per_node - 1));
    return true;
  }

  std::string who_came() {
    std::string hosts;
    int count = 0;
    for (int node = 0; node < options_.num_nodes; ++node) {
      const auto host = store_->get(key("node") + "/" + std::to_string(node));
      if (!host) continue;
      hosts.append(hosts.empty() ? "" : ", ").append(*host);
      ++count;
    }
    return std::to_string(count) + " of " + std::to_string(options_.num_nodes) + " came within " +
           std::to_string(options_.join_timeout.count() / 1000) + " s: " + hosts;
  }

  LocalRanksResult run_ranks() {
    LocalRanksOptions options{.command = options_.command,
                              .first_rank = node_ * options_.ranks_per_node,
                              .num_ranks = options_.ranks_per_node,
                              .world_size = options_.num_nodes * options_.ranks_per_node};
    options.environment =
        rank_variables(options_.rendezvous, "run/" + std::to_string(round_) + "/", options_.ranks_per_node);
    options.on_line = options_.say;
    options.give_up = [this] { return store_->get(key("failed")).has_value(); };
    return run_local_ranks(signals_, options);
  }

  // Who serves the store goes last, so that the others still learn how it ended.
  int leave(int code) {
    if (store_->add(key("left"), 1) == options_.num_nodes) store_->set(key("all_left"), "1");
    if (server_) store_->wait(key("all_left"), code == 0 ? options_.join_timeout : milliseconds(15000));
    return code;
  }

  const NodeAgentOptions& options_;
  const SignalQueue signals_;  // before the store's thread
  std::optional<StoreServer> server_;
  std::optional<StoreClient> store_;
  int round_ = 0, node_ = 0, signal_ = 0;
};

}  // namespace

int run_node_agent(const NodeAgentOptions& options) {
  return NodeAgent(options).run();
}

Endpoint parse_endpoint(const std::string& text) {
  const size_t colon = text.rfind(':');
  uint16_t port = 0;
  if (colon != std::string::npos && colon > 0) {
    const auto [end, error] = std::from_chars(text.data() + colon + 1, text.data() + text.size(), port);
    if (error != std::errc() || end != text.data() + text.size()) port = 0;
  }
  if (port == 0)
    throw UsageError("nemo launch", "--rdzv-endpoint", "'" + text + "' is not host:port",
                     "the address of one of the machines, e.g. node1:29500");
  std::string host = text.substr(0, colon);
  if (host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return {std::move(host), port};
}

}  // namespace nemo
