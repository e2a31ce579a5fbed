// Ranks as child processes of this one: started, listened to, and ended together. Not here: what they compute, and
// which rank a process is (cli/rank_environment.h).
#pragma once
#include <chrono>
#include <csignal>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace nemo {

// SIGINT, SIGTERM and SIGCHLD wait in a descriptor while one lives. To be made before any thread, which would take
// them.
class SignalQueue {
 public:
  SignalQueue();
  ~SignalQueue();
  SignalQueue(const SignalQueue&) = delete;
  SignalQueue& operator=(const SignalQueue&) = delete;

  int descriptor() const { return descriptor_; }
  const sigset_t& before() const { return before_; }  // the mask that children get back

 private:
  sigset_t before_;
  int descriptor_;
};

struct LocalRanksOptions {
  std::vector<std::string> command;  // program (a path) and arguments
  int first_rank = 0, num_ranks = 1, world_size = 1;
  std::vector<std::string> environment = {};  // "NAME=value" for all of them, besides RANK, WORLD_SIZE and LOCAL_RANK
  std::chrono::milliseconds grace{8000};      // from SIGTERM to SIGKILL, once one has failed
  std::function<bool()> give_up = {};         // asked now and then; true ends all ranks
  std::function<void(const std::string& line)> on_line;  // what ranks other than 0 print; rank 0 prints by itself
};

struct LocalRanksResult {
  int exit_code = 0;  // of the first rank that failed; 128 + signal after a signal to this process
  std::optional<int> failed_rank = {};
  std::string reason = {};  // "rank 1 (process 4711) was ended by signal 9 (Killed)"
  int signal = 0;           // that ended the run: it was sent to this process
  bool gave_up = false;
};

// Returns when all have ended. A signal to this process is passed on once: ranks save and stop; a second one kills
// them. None outlives this process, however that ends.
LocalRanksResult run_local_ranks(const SignalQueue& signals, const LocalRanksOptions& options);

}  // namespace nemo
