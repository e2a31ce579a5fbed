// Marks in host-mapped memory that a stream leaves before and after a call, also when a graph replays it: the host can
// see which call a device is in while both are stuck. Not here: who looks at them (parallel/comm/watchdog.h).
#pragma once
#include <cstdint>

#include "kernels/base/cuda_stream.h"

namespace nemo::kernels {

struct CallMark {
  uint64_t begun, ended;  // counted by the device
  uint64_t call;          // which call began last: a number that the host gave it
};

// mark: pinned host memory, zeroed, of one stream alone. One thread, two words.
NEMO_CUDA_KERNEL void mark_begin_cuda(CallMark* mark, uint64_t call, cudaStream_t stream);
NEMO_CUDA_KERNEL void mark_end_cuda(CallMark* mark, cudaStream_t stream);

}  // namespace nemo::kernels
