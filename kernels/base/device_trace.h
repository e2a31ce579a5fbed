// A record of what a GPU did and when: kernels, copies, fills. Absent (null) in builds without CUDA or without CUPTI's
// header. Not here: what the record says about a training step (recipes/bench/step_profile.h).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/base/cuda_stream.h"

namespace nemo::kernels {

struct DeviceActivity {
  std::string name;  // a kernel's as the linker spells it; "[copy]", "[fill]"
  uint64_t start_ns = 0, end_ns = 0;
};

// From begin to end all of the process's GPU work is recorded. CudaError where the library is absent, or a tracer runs.
// The caller waits for the device before either call: work in flight may be missed.
NEMO_CUDA_KERNEL void device_trace_begin();
NEMO_CUDA_KERNEL std::vector<DeviceActivity> device_trace_end();

}  // namespace nemo::kernels
