#include "core/optim/step_state.h"

#include <cstddef>
#include <cstring>

#include "core/ops/copy.h"
#include "core/ops/launch.h"

namespace nemo {
namespace {

using kernels::StepState;
static_assert(sizeof(StepState) % sizeof(double) == 0 && offsetof(StepState, grad_square_sum) % sizeof(double) == 0 && offsetof(StepState, loss_sum) % sizeof(double) == 0 &&
              offsetof(StepState, num_loss_tokens) % sizeof(double) == 0);

Tensor number_at(const Tensor& state, size_t offset) { return state.segment(static_cast<int64_t>(offset / sizeof(double)), {1}); }

}  // namespace

StepStateSnapshot::StepStateSnapshot(ExecContext& ctx, const Tensor& state, std::shared_ptr<HostBuffer> host)
    : host_(std::move(host)), copied_((download_later(ctx, host_->data(), state), Event(ctx.runtime().stream()))) {}

kernels::StepState StepStateSnapshot::get() const {
  copied_.synchronize();
  kernels::StepState state;
  std::memcpy(&state, host_->data(), sizeof(state));
  return state;
}

StepStateBuffer::StepStateBuffer(ExecContext& ctx)
    : state_(ctx.empty({sizeof(StepState) / sizeof(double)}, DType::fp64, MemoryTag::data)), staging_(ctx.device(), sizeof(StepState)) {
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

Tensor StepStateBuffer::grad_square_sum() const { return number_at(state_, offsetof(StepState, grad_square_sum)); }
Tensor StepStateBuffer::loss_sum() const { return number_at(state_, offsetof(StepState, loss_sum)); }
Tensor StepStateBuffer::num_loss_tokens() const { return number_at(state_, offsetof(StepState, num_loss_tokens)); }

void StepStateBuffer::finish_loss_tokens(ExecContext& ctx) const {
  launch(ctx, "loss_tokens", [&] { kernels::finish_loss_tokens_cpu(device()); }, [&] { kernels::finish_loss_tokens_cuda(device(), ctx.stream()); });
}

}  // namespace nemo
