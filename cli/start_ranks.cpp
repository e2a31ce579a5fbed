#include "cli/start_ranks.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <thread>

#include "cli/build_info.h"
#include "cli/command_error.h"
#include "cli/local_ranks.h"
#include "core/config/print.h"
#include "parallel/store/store_server.h"

namespace nemo {
namespace {

std::string this_place() {
  char host[256] = "";
  gethostname(host, sizeof(host) - 1);
  return std::string(host) + ":" + std::to_string(getpid());
}

Facts facts_of(const Recipe& recipe, int world_size, Device device) {
  Facts facts{{"the binary", build_info().summary()},
              {"the number of ranks", std::to_string(world_size)},
              {"--device", device.is_cuda() ? "cuda" : "cpu"}};
  Recipe copy = recipe;  // fields() hands out places to write to
  const std::vector<Field> fields = list_fields(copy);
  for (const LeafField& leaf : list_leaves(fields)) facts.emplace_back(leaf.path, value_text(*leaf.field));
  return facts;
}

// The program and its arguments as this process was started.
std::vector<std::string> this_command() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  std::vector<std::string> command;
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find('\0', start), text.size());
    command.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  if (command.empty()) throw Error("", "/proc/self/cmdline", "cannot be read");
  command[0] = std::filesystem::read_symlink("/proc/self/exe");
  return command;
}

}  // namespace

std::optional<RankEnvironment> this_rank() {
  return read_rank_environment([](const char* name) { return std::getenv(name); });
}

Device device_of_rank(const std::string& text, const std::optional<RankEnvironment>& environment) {
  const Device device = parse_device(text);
  if (!environment || !device.is_cuda() || text.find(':') != std::string::npos) return device;
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  // srun can show each task a single GPU, all under the same index.
  if (environment->source == "srun" && visible != nullptr && std::string(visible).find(',') == std::string::npos)
    return device;
  return parse_device("cuda:" + std::to_string(environment->local_rank));
}

std::unique_ptr<Job> join_job(const RankEnvironment& environment, const Recipe& recipe, Device device) {
  JobOptions options{.rank = environment.rank,
                     .world_size = environment.world_size,
                     .store = environment.store,
                     .serves_store = environment.serves_store,
                     .store_prefix = environment.store_prefix,
                     .place = this_place(),
                     .facts = facts_of(recipe, environment.world_size, device)};
  options.deadline = std::chrono::milliseconds(static_cast<int64_t>(recipe.parallelism.comm_timeout_s * 1000));
  options.start_timeout = options.deadline;
  options.on_hang = [](const std::string& report) {
    if (!report.empty()) std::cerr << "nemo: " << report << std::flush;
    _exit(kExitFailure);  // the other threads are stuck for good
  };
  return std::make_unique<Job>(std::move(options));
}

std::vector<std::string> rank_variables(const Endpoint& store, const std::string& prefix, int ranks_on_this_machine) {
  std::vector<std::string> variables{"MASTER_ADDR=" + store.host, "MASTER_PORT=" + std::to_string(store.port),
                                     "NEMO_STORE_PREFIX=" + prefix};
  const unsigned share =
      std::max(1u, std::thread::hardware_concurrency() / static_cast<unsigned>(ranks_on_this_machine));
  if (std::getenv("OMP_NUM_THREADS") == nullptr) variables.push_back("OMP_NUM_THREADS=" + std::to_string(share));
  if (std::getenv("OMP_WAIT_POLICY") == nullptr)
    variables.push_back("OMP_WAIT_POLICY=passive");  // a rank that waits must not hold a core
  return variables;
}

int run_as_ranks(int num_ranks) {
  const SignalQueue signals;  // before the store's thread
  const StoreServer server({"127.0.0.1", 0});
  LocalRanksOptions options{.command = this_command(), .num_ranks = num_ranks, .world_size = num_ranks};
  options.environment = rank_variables({"127.0.0.1", server.port()}, "0/", num_ranks);
  options.on_line = [](const std::string& line) { std::cerr << line << std::endl; };
  const LocalRanksResult result = run_local_ranks(signals, options);
  if (result.failed_rank) std::cerr << "nemo: " << result.reason << "; the other ranks were ended" << std::endl;
  return result.exit_code;
}

}  // namespace nemo
