// The StepState of a trainer: the device copy that kernels read and write, and how the host fills and reads it.
#pragma once
#include <memory>
#include <utility>
#include <vector>

#include "core/device/host_buffer.h"
#include "core/device/staging_ring.h"
#include "core/exec_context.h"

namespace nemo {

// What kernels wrote in one step, on its way to the host.
class StepStateSnapshot {
 public:
  StepStateSnapshot(ExecContext& ctx, const Tensor& state, std::shared_ptr<HostBuffer> host);
  // Waits for the step, not for later ones.
  kernels::StepState get() const;
  // When the step was done; get() first.
  Event take_event() { return std::move(copied_); }

 private:
  std::shared_ptr<HostBuffer> host_;
  Event copied_;
};

class StepStateBuffer {
 public:
  explicit StepStateBuffer(ExecContext& ctx);

  kernels::StepState* device() const { return static_cast<kernels::StepState*>(state_.raw()); }
  // Starts a step: sends the host's part and clears what kernels write. Waits for nothing.
  void begin(ExecContext& ctx, const kernels::StepState& host);
  // Single numbers of it, [1] fp64, for sums over ranks.
  Tensor grad_square_sum() const;
  Tensor loss_sum() const;
  Tensor num_loss_tokens() const;
  // After num_loss_tokens was summed: what the loss is divided by.
  void finish_loss_tokens(ExecContext& ctx) const;
  StepStateSnapshot snapshot(ExecContext& ctx);

 private:
  Tensor state_;  // fp64: StepState's size and its sums' places are multiples of eight bytes
  StagingRing staging_;
  std::vector<std::shared_ptr<HostBuffer>> snapshots_;  // used again when nobody else holds them: pinning memory is slow
};

}  // namespace nemo
