// The StepState of a trainer: the device copy that kernels read and write, and how the host fills and reads it.
#pragma once
#include "core/exec_context.h"

namespace nemo {

class StepStateBuffer {
 public:
  explicit StepStateBuffer(ExecContext& ctx);

  kernels::StepState* device() const { return static_cast<kernels::StepState*>(state_.raw()); }
  // Starts a step: sends the host's part and clears what kernels write.
  void begin(ExecContext& ctx, const kernels::StepState& host);
  // Waits for the step and brings back what kernels wrote.
  kernels::StepState read(ExecContext& ctx) const;

 private:
  Tensor state_;
  kernels::StepState host_;  // outlives the copy in flight
};

}  // namespace nemo
