// Saving beside training: a snapshot in host memory, written by a background thread while the next steps run.
// Not here: copying off the device (the caller fills the snapshot), the format (checkpoint_folder.h).
#pragma once
#include <functional>
#include <future>

#include "core/checkpoint/checkpoint_folder.h"

namespace nemo {

// A checkpoint that owns its bytes.
struct Snapshot {
  struct Tensor {
    Box box;
    DType dtype = DType::fp32;
    std::vector<std::byte> bytes;
  };
  std::vector<Tensor> tensors;
  SideFiles files;
};

// The ranks that write one checkpoint together, and how they tell each other what is done: notes under keys, on a channel that
// is not the training's, so that it may be used while the next steps run. One rank tells nobody.
struct CheckpointRanks {
  int64_t rank = 0, size = 1;
  std::function<void(const std::string& key, const std::string& text)> tell = {};
  std::function<std::string(const std::string& key)> hear = {};  // waits until somebody told; throws when that takes too long
};

// At most one save is in flight, so host memory holds at most one snapshot beside the one the caller fills. A failed
// save is thrown by the next call, once. For one thread.
class CheckpointWriter {
 public:
  ~CheckpointWriter();  // waits; an error nobody asked for with wait() is lost with it

  // Waits for the save before, then starts this one: writes `path`, then prunes its folder to keep_last (0: keeps all).
  // On an earlier save's error the snapshot stays the caller's, and save() may be called again with it.
  // Each rank calls this with its own regions, at the same steps; it is whole when the first rank's save is.
  void save(const std::string& path, Snapshot&& snapshot, int64_t keep_last = 0, const CheckpointRanks& ranks = {});
  void wait();  // until nothing is in flight
  bool busy() const;

 private:
  std::future<void> in_flight_;
  int64_t num_saves_ = 0;
};

// The same, by the calling thread. save_number tells saves of one path apart.
void save_checkpoint(const std::string& path, const Snapshot& snapshot, int64_t keep_last = 0, const CheckpointRanks& ranks = {}, int64_t save_number = 0);

}  // namespace nemo
