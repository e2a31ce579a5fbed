#include "core/device/captured_graph.h"

#include "core/error.h"
#include "kernels/base/cuda_device.h"
#include "kernels/base/error.h"

namespace nemo {
namespace {

constexpr const char* kWithoutGraphs = "trainer.cuda_graph=false";

template <class Call>
auto as_device_error(Device device, const Call& call) {
  try {
    return call();
  } catch (const kernels::CudaError& error) {
    throw DeviceError{to_string(device), "CUDA graph", error.what(), kWithoutGraphs};
  }
}

}  // namespace

void CapturedGraph::Destroy::operator()(CUgraphExec_st* graph) const noexcept {
  kernels::cuda_graph_destroy(graph);
}

CapturedGraph::CapturedGraph(Arena& arena, Stream& stream, const std::function<void()>& queue)
    : arena_(&arena), hold_(std::make_unique<TransientHold>(arena)) {
  as_device_error(arena.device(), [&] { kernels::cuda_capture_begin(stream.handle()); });
  try {
    queue();
  } catch (...) {
    kernels::cuda_capture_abandon(stream.handle());
    throw;
  }
  graph_.reset(as_device_error(arena.device(), [&] { return kernels::cuda_capture_end(stream.handle()); }));
}

void CapturedGraph::launch(Stream& stream) const {
  if (const size_t bytes = arena_->transient_live_bytes(); bytes > 0)
    throw DeviceError{
        to_string(arena_->device()), "CUDA graph",
        std::to_string(bytes) + " bytes leased during a step are still held, and a replay would overwrite them",
        kWithoutGraphs};
  as_device_error(arena_->device(), [&] { kernels::cuda_graph_launch(graph_.get(), stream.handle()); });
}

}  // namespace nemo
