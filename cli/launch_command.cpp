#include "cli/launch_command.h"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>

#include "cli/node_agent.h"
#include "core/error.h"

namespace nemo {
namespace {

constexpr const char* kFooter = R"(Examples:
  nemo launch --nnodes 2 --nproc-per-node 8 --rdzv-endpoint node1:29500 -- pretrain my.yaml
  nemo launch --nproc-per-node 4 --max-restarts 3 -- pretrain my.yaml --resume auto
The same line on every machine, in any order; the endpoint is an address of one of them.)";

struct LaunchArguments {
  int num_nodes = 1, ranks_per_node = 1, max_restarts = 0;
  double join_timeout_s = 600;
  std::string endpoint = "127.0.0.1:29500";
  std::vector<std::string> command;
};

void run(const LaunchArguments& arguments) {
  if (arguments.command.front() != "pretrain")
    throw UsageError("nemo launch", arguments.command.front(), "is not a command that runs on several ranks",
                     "nemo launch ... -- pretrain RECIPE");
  NodeAgentOptions options{.num_nodes = arguments.num_nodes,
                           .ranks_per_node = arguments.ranks_per_node,
                           .max_restarts = arguments.max_restarts,
                           .rendezvous = parse_endpoint(arguments.endpoint)};
  options.join_timeout = std::chrono::milliseconds(static_cast<int64_t>(arguments.join_timeout_s * 1000));
  options.command = arguments.command;
  options.command.insert(options.command.begin(), std::filesystem::read_symlink("/proc/self/exe"));
  options.say = [](const std::string& line) { std::cerr << "launch: " << line << std::endl; };
  const int code = run_node_agent(options);
  if (code != 0) throw CLI::RuntimeError(code);
}

}  // namespace

void add_launch_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("launch", "Start the ranks of this machine in a run of several machines");
  command->footer(kFooter);
  auto arguments = std::make_shared<LaunchArguments>();
  command->add_option("--nnodes", arguments->num_nodes, "Machines of the run")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command->add_option("--nproc-per-node", arguments->ranks_per_node, "Ranks on each of them")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_option("--rdzv-endpoint", arguments->endpoint, "Where the machines meet: HOST:PORT of one of them")
      ->capture_default_str();
  command
      ->add_option("--max-restarts", arguments->max_restarts, "Times all ranks are started again after one has failed")
      ->check(CLI::Range(0, 1000000))
      ->capture_default_str();
  command->add_option("--join-timeout-s", arguments->join_timeout_s, "Seconds to wait for all machines")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("command", arguments->command, "After --: the command of each rank")->required();
  command->callback([arguments] { run(*arguments); });
}

}  // namespace nemo
