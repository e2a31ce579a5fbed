// Where the time of training steps goes on a GPU, kernel by kernel.
// Not here: how the device is traced (kernels/base/device_trace.h).
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/device/runtime.h"
#include "kernels/base/device_trace.h"

namespace nemo {

struct StepProfile {
  struct Row {
    std::string name;                                       // demangled, without parameters
    double calls_per_step = 0, ms_per_step = 0, share = 0;  // share: of all kernels' time
  };
  int64_t num_steps = 0;
  double ms_per_step = 0, idle_ms_per_step = 0;  // idle: nothing ran on the device
  std::vector<Row> rows;                         // longest first
};

// DeviceError where `device` is no GPU, or this build or machine cannot trace one.
void require_step_profile(Device device);

// Traces what run() queues, which is num_steps steps. Tracing slows the steps a little.
StepProfile profile_steps(Runtime& runtime, int64_t num_steps, const std::function<void()>& run);

// The table of some activities. Pure.
StepProfile summarise(std::vector<kernels::DeviceActivity> activities, int64_t num_steps);

}  // namespace nemo
