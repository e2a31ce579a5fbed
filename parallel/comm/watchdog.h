// Ends a run that hangs: sees a collective past its deadline, gathers where every rank stands, and says who is missing.
// Not here: how a process ends (the callback of cli), the collectives (process_group.h).
#pragma once
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "parallel/comm/call_log.h"
#include "parallel/store/store_client.h"

namespace nemo {

struct WatchdogOptions {
  int rank, world_size;
  std::chrono::milliseconds deadline;  // of every collective
  // Called once, on the watchdog's thread, when the run hangs; it is to end the process. One rank is given the report,
  // the others an empty text.
  std::function<void(const std::string& report)> on_hang;
};

// One thread a rank. It asks over the store, so it works while every collective is stuck. A rank that does not answer
// (it is stopped, or cut off) is reported as that.
class Watchdog {
 public:
  Watchdog(const StoreClient& store, std::shared_ptr<CallLog> log, WatchdogOptions options);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  std::atomic<bool> closing_ = false;
  std::thread thread_;
};

// What one rank published: its positions, or nothing where it did not answer.
struct RankPositions {
  bool answered = false;
  int64_t step = 0;
  std::vector<CallPosition> groups;
};
std::string write_positions(const RankPositions& positions);
RankPositions read_positions(const std::string& text);

// The report: whom `stuck` of `rank` waits for, and where all ranks stand, equal ones on one line.
std::string describe_hang(int rank, const CallPosition& stuck, double waited_s,
                          const std::vector<RankPositions>& ranks);

}  // namespace nemo
