// Where each group of this rank stands: which call it is in, for a watchdog to look at and a dump to show.
// Not here: deadlines (parallel/comm/watchdog.h).
#pragma once
#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace nemo {

struct CallPosition {
  std::string group;
  std::vector<int> ranks;  // its members in the world
  uint64_t sequence = 0;   // calls begun so far; 0: none yet
  bool in_flight = false;  // the last of them has not ended
  std::string call;        // the last of them: "all_reduce 'gradients'"
  int64_t step = 0;        // at which it was queued
};

class CallSource {
 public:
  virtual CallPosition position() const = 0;

 protected:
  ~CallSource() = default;
};

// One a rank. Any thread may ask at any time.
class CallLog {
 public:
  void set_step(int64_t step) { step_ = step; }
  int64_t step() const { return step_; }
  std::vector<CallPosition> positions() const;  // of the groups that live, in the order of their making

  void add(const CallSource& source);
  void remove(const CallSource& source);

 private:
  std::atomic<int64_t> step_ = 0;
  mutable std::mutex mutex_;
  std::vector<const CallSource*> sources_;
};

}  // namespace nemo
