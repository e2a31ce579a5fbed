#include "parallel/job/stop_agreement.h"

#include <algorithm>

#include "core/error.h"

namespace nemo {

using std::chrono::milliseconds;

StopAgreement::StopAgreement(const StoreClient& store, int rank, int world_size, milliseconds deadline)
    : rank_(rank), world_size_(world_size), deadline_(deadline) {
  thread_ = std::thread([this, &store] {
    try {
      StoreClient own = store.another();
      agree(own);
    } catch (const CommError& error) {
      std::lock_guard lock(mutex_);
      failure_ = error.what();
    }
    decided_.notify_all();
  });
}

StopAgreement::~StopAgreement() {
  closing_ = true;
  thread_.join();
}

void StopAgreement::agree(StoreClient& store) {
  while (!store.wait("stop/asked", milliseconds(asked_ ? 0 : 50))) {
    if (closing_) return;
    if (asked_) store.set("stop/asked", std::to_string(rank_));
  }
  {
    std::lock_guard lock(mutex_);
    said_ = step_;
  }
  store.set("stop/at/" + std::to_string(rank_), std::to_string(*said_));
  if (rank_ == 0) {
    int64_t furthest = 0;
    for (int rank = 0; rank < world_size_; ++rank) {
      const auto at = store.wait("stop/at/" + std::to_string(rank), deadline_);
      if (!at)
        throw CommError{"stop", "rank " + std::to_string(rank),
                        "has not said which step it is in within " + std::to_string(deadline_.count() / 1000) + " s"};
      furthest = std::max<int64_t>(furthest, std::stoll(*at));
    }
    store.set("stop/after", std::to_string(furthest + 2));
  }
  const auto last = store.wait("stop/after", deadline_ + milliseconds(1000));
  if (!last)
    throw CommError{"stop", "rank " + std::to_string(rank_),
                    "was not told the last step within " + std::to_string(deadline_.count() / 1000) + " s"};
  std::lock_guard lock(mutex_);
  last_ = std::stoll(*last);
}

bool StopAgreement::begin_step(int64_t step) {
  std::unique_lock lock(mutex_);
  if (said_ && step >= *said_ + 2) {
    const bool in_time =
        decided_.wait_for(lock, deadline_ + milliseconds(2000), [this] { return last_ || !failure_.empty(); });
    if (!last_)
      throw CommError{"stop", "rank " + std::to_string(rank_),
                      in_time ? failure_ : "the ranks have not agreed on a last step"};
  }
  step_ = step;
  return last_ && step >= *last_;
}

}  // namespace nemo
