// A rank's part in a run of several: the store, its groups, the watchdog, and the agreements to start and to stop.
// Not here: who told it its rank (cli/rank_environment.h), what the ranks do (recipes/).
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/device/device.h"
#include "parallel/comm/call_log.h"
#include "parallel/comm/process_group.h"
#include "parallel/comm/watchdog.h"
#include "parallel/job/start_agreement.h"
#include "parallel/job/stop_agreement.h"
#include "parallel/store/store_client.h"
#include "parallel/store/store_server.h"

namespace nemo {

struct JobOptions {
  int rank = 0, world_size = 1;
  Endpoint store = {};
  bool serves_store = false;  // rank 0, where nobody else does
  std::string store_prefix = {};
  std::string place = {};                                              // "host:pid"
  Facts facts = {};                                                    // must be the same on every rank
  std::chrono::milliseconds start_timeout = std::chrono::minutes(10);  // for all ranks to come
  std::chrono::milliseconds deadline = std::chrono::minutes(10);       // of every collective
  std::function<void(const std::string& report)> on_hang = {};         // see WatchdogOptions
};

class Job {
 public:
  // Returns when all ranks are there and alike. CommError says what keeps them from it.
  explicit Job(JobOptions options);
  // Waits until every rank has come here too; not while an exception unwinds.
  ~Job();
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  int rank() const { return options_.rank; }
  int world_size() const { return options_.world_size; }
  StoreClient& store() { return *store_; }
  StopAgreement& stop() { return *stop_; }
  CallLog& log() { return *log_; }
  // Groups of ranks that each work on a device of this kind: Gloo for the CPU, NCCL for CUDA. Made at the first call,
  // which every rank must make.
  GroupFactory& groups(Device device);

 private:
  const JobOptions options_;
  std::shared_ptr<CallLog> log_ = std::make_shared<CallLog>();
  std::optional<StoreServer> server_;
  std::optional<StoreClient> store_;
  std::optional<StopAgreement> stop_;
  std::optional<Watchdog> watchdog_;
  std::unique_ptr<GroupFactory> groups_;
};

}  // namespace nemo
