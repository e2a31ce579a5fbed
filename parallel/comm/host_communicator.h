// Collectives among CPU ranks: a worker thread that runs the calls of a group in order over a HostTransport.
// Not here: the transports (thread_group.h, gloo_group.h).
#pragma once
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include "parallel/comm/call_log.h"
#include "parallel/comm/communicator.h"
#include "parallel/comm/host_transport.h"

namespace nemo {

// A reduction is an exchange of parts, a sum in rank order (rank_order_reduction.h) and an exchange of results, so its
// bits depend on nothing but the inputs. The first call that fails takes all later ones with it.
class HostCommunicator final : public Communicator, private CallSource {
 public:
  HostCommunicator(GroupMembers members, std::unique_ptr<HostTransport> transport, std::shared_ptr<CallLog> log);
  // Runs what is queued; while an exception unwinds it gives that up instead, so that the other ranks learn of it.
  ~HostCommunicator() override;

  Work start(ExecContext& ctx, CommCall call) override;

 private:
  struct Task;
  class TaskWork;

  CallPosition position() const override;
  void run_tasks();
  void run(Task& task);
  void perform(const CommCall& call);
  void all_reduce(const CommCall& call);
  void reduce_scatter(const CommCall& call);
  void reduce_own_part(const CommCall& call, void* output, int64_t first, int64_t count);
  void gather_parts(char* output, const std::vector<size_t>& starts);
  void all_to_all(const CommCall& call);
  void broadcast(const CommCall& call);
  void barrier();
  void exchange(const CommCall& call);

  std::unique_ptr<HostTransport> transport_;
  std::shared_ptr<CallLog> log_;
  std::vector<char> parts_;  // what peers sent to be summed; grows to the largest
  std::string call_name_;    // of the call the worker is in

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Task>> queue_;
  bool closing_ = false;
  CallPosition position_;
  std::string failure_;  // of the first call that failed
  std::thread worker_;
};

}  // namespace nemo
