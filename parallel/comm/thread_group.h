// Ranks that are threads of one process, for tests of anything that communicates. Not here: starting the threads.
#pragma once
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>

#include "parallel/comm/call_log.h"
#include "parallel/comm/host_transport.h"
#include "parallel/comm/process_group.h"

namespace nemo {

// Where the threads meet. Like NCCL, a send ends only when its receive takes it; unlike it, two ends that disagree
// about the size or the collective get an error.
class ThreadHub {
 public:
  // deadline: of each exchange.
  ThreadHub(int world_size, std::chrono::milliseconds deadline) : world_size_(world_size), deadline_(deadline) {}

  int world_size() const { return world_size_; }
  // From the first failure on every exchange fails and says why.
  void fail(int rank, const std::string& reason) noexcept;
  // The rank that failed first, if one has.
  std::optional<int> failed_rank() const;

 private:
  friend class ThreadTransport;
  struct Post;
  using Lane = std::tuple<std::string, int, int>;  // group, from, to

  const int world_size_;
  const std::chrono::milliseconds deadline_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<Lane, std::deque<Post*>> lanes_;
  std::optional<int> failed_rank_;
  std::string failure_;
};

// Groups of one thread's rank. The hub must outlive the groups.
class ThreadGroups final : public GroupFactory {
 public:
  ThreadGroups(ThreadHub& hub, int rank) : hub_(hub), rank_(rank) {}
  int rank() const override { return rank_; }
  int world_size() const override { return hub_.world_size(); }
  ProcessGroup make(const std::string& name, std::vector<int> ranks) override;
  CallLog& log() { return *log_; }

 private:
  ThreadHub& hub_;
  int rank_;
  std::shared_ptr<CallLog> log_ = std::make_shared<CallLog>();
  std::map<std::string, int> num_made_;  // groups so far of the same name and ranks
};

}  // namespace nemo
