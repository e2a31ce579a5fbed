#include "core/optim/step_state.h"

#include <cstring>

#include "core/ops/copy.h"

namespace nemo {

StepStateSnapshot::StepStateSnapshot(ExecContext& ctx, const Tensor& state, std::shared_ptr<HostBuffer> host)
    : host_(std::move(host)), copied_((download_later(ctx, host_->data(), state), Event(ctx.runtime().stream()))) {}

kernels::StepState StepStateSnapshot::get() const {
  copied_.synchronize();
  kernels::StepState state;
  std::memcpy(&state, host_->data(), sizeof(state));
  return state;
}

StepStateBuffer::StepStateBuffer(ExecContext& ctx)
    : state_(ctx.empty({sizeof(kernels::StepState)}, DType::uint8, MemoryTag::data)), staging_(ctx.device(), sizeof(kernels::StepState)) {
  begin(ctx, {});
}

void StepStateBuffer::begin(ExecContext& ctx, const kernels::StepState& host) {
  void* const staged = staging_.next();
  std::memcpy(staged, &host, sizeof(host));
  upload(ctx, state_, staged);
  staging_.sent(ctx.runtime().stream());
}

StepStateSnapshot StepStateBuffer::snapshot(ExecContext& ctx) {
  for (const std::shared_ptr<HostBuffer>& each : snapshots_)
    if (each.use_count() == 1) return StepStateSnapshot(ctx, state_, each);
  snapshots_.push_back(std::make_shared<HostBuffer>(ctx.device(), sizeof(kernels::StepState)));
  return StepStateSnapshot(ctx, state_, snapshots_.back());
}

}  // namespace nemo
