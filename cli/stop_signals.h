// Lets a long command end well: SIGINT and SIGTERM become a question it asks between steps instead of sudden death.
// Not here: what to save before stopping (recipes/).
#pragma once
#include <array>
#include <csignal>

namespace nemo {

// While one lives, a first SIGINT or SIGTERM is only remembered; a second of the same kind ends the process at once.
// Signal handlers belong to the whole process, so at most one lives at a time.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  int received() const;                               // the signal's number, 0 when none has come
  int exit_code() const { return 128 + received(); }  // 130 after SIGINT, 143 after SIGTERM

 private:
  static constexpr std::array<int, 2> kSignals = {SIGINT, SIGTERM};
  std::array<struct sigaction, 2> previous_{};
};

}  // namespace nemo
