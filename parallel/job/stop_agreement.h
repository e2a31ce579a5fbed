// All ranks save and stop after the same step, whichever of them was asked to. Not here: what stopping is (recipes/).
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <thread>

#include "parallel/store/store_client.h"

namespace nemo {

// When any rank asks, each says which step it is in, and the last step of the run is two after the furthest of them. A
// rank that has said so waits for the answer before it begins the second step from there, so none can be past the last
// step. All of it goes over the store by a thread of its own: a rank answers while it is inside a collective.
class StopAgreement {
 public:
  // deadline: for the ranks to agree.
  StopAgreement(const StoreClient& store, int rank, int world_size, std::chrono::milliseconds deadline);
  ~StopAgreement();
  StopAgreement(const StopAgreement&) = delete;
  StopAgreement& operator=(const StopAgreement&) = delete;

  // Asks all ranks to stop. Any rank, any thread, any number of times.
  void ask() { asked_ = true; }
  // To be called before each step, in order. True: it is the last one. CommError when the ranks do not agree in time.
  bool begin_step(int64_t step);

 private:
  void agree(StoreClient& store);

  const int rank_, world_size_;
  const std::chrono::milliseconds deadline_;
  std::atomic<bool> asked_ = false, closing_ = false;
  std::mutex mutex_;
  std::condition_variable decided_;
  int64_t step_ = 0;                    // the one this rank is in
  std::optional<int64_t> said_, last_;  // the step this rank said it was in; the agreed last
  std::string failure_;
  std::thread thread_;
};

}  // namespace nemo
