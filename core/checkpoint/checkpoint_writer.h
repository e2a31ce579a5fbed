// Saving beside training: a snapshot in host memory, written by a background thread while the next steps run.
// Not here: copying off the device (the caller fills the snapshot), the format (checkpoint_folder.h).
#pragma once
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

// At most one save is in flight, so host memory holds at most one snapshot beside the one the caller fills. A failed
// save is thrown by the next call, once. For one thread.
class CheckpointWriter {
 public:
  ~CheckpointWriter();  // waits; an error nobody asked for with wait() is lost with it

  // Waits for the save before, then starts this one: writes `path`, then prunes its folder to keep_last (0: keeps all).
  // On an earlier save's error the snapshot stays the caller's, and save() may be called again with it.
  void save(const std::string& path, Snapshot&& snapshot, int64_t keep_last = 0);
  void wait();  // until nothing is in flight
  bool busy() const;

 private:
  std::future<void> in_flight_;
};

// The same, by the calling thread.
void save_checkpoint(const std::string& path, const Snapshot& snapshot, int64_t keep_last = 0);

}  // namespace nemo
