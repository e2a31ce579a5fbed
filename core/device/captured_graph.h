// A stretch of device work that was recorded once and is replayed as a whole, at the addresses it was recorded with.
// Not here: which work, and when (recipes/step_graphs.h).
#pragma once
#include <functional>
#include <memory>

#include "core/device/arena.h"
#include "core/device/device.h"

struct CUgraphExec_st;

namespace nemo {

// Move-only. Only of CUDA streams.
class CapturedGraph {
 public:
  // Records what `queue` queues on the stream; the device does none of it yet. All that it leases must be transient and
  // given back by its end, and stays reserved while this lives. An error in `queue` ends the capture and is thrown on.
  CapturedGraph(Arena& arena, Stream& stream, const std::function<void()>& queue);

  // Queues the recorded work. DeviceError while somebody holds transient memory, which the work would overwrite.
  void launch(Stream& stream) const;

 private:
  struct Destroy {
    void operator()(CUgraphExec_st* graph) const noexcept;
  };
  Arena* arena_;
  std::unique_ptr<TransientHold> hold_;
  std::unique_ptr<CUgraphExec_st, Destroy> graph_;
};

}  // namespace nemo
