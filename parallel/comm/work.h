// A collective that has been queued: what its caller waits on. Not here: who runs it (parallel/comm/communicator.h).
#pragma once
#include <memory>

namespace nemo {

class ExecContext;

class WorkState {
 public:
  virtual ~WorkState() = default;
  virtual void wait(ExecContext& ctx) = 0;
  virtual bool done() const = 0;
};

class Work {
 public:
  Work() = default;  // nothing to wait for
  explicit Work(std::shared_ptr<WorkState> state) : state_(std::move(state)) {}

  // From here on the compute stream sees the result. CUDA: the stream waits, the host does not. CPU: blocks, and throws
  // the CommError of the call.
  void wait(ExecContext& ctx) {
    if (state_) state_->wait(ctx);
  }
  bool done() const { return !state_ || state_->done(); }

 private:
  std::shared_ptr<WorkState> state_;
};

}  // namespace nemo
