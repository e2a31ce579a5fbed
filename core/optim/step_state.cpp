#include "core/optim/step_state.h"

#include <cstring>

#include "core/ops/copy.h"

namespace nemo {

StepStateSnapshot::StepStateSnapshot(ExecContext& ctx, const Tensor& state)
    : host_(ctx.device(), sizeof(kernels::StepState)), copied_((download_later(ctx, host_.data(), state), Event(ctx.runtime().stream()))) {}

kernels::StepState StepStateSnapshot::get() const {
  copied_.synchronize();
  kernels::StepState state;
  std::memcpy(&state, host_.data(), sizeof(state));
  return state;
}

StepStateBuffer::StepStateBuffer(ExecContext& ctx) : state_(ctx.empty({sizeof(kernels::StepState)}, DType::uint8, MemoryTag::data)) {
  begin(ctx, {});
}

// The copy may read `host` before it returns only: from ordinary memory the runtime stages small copies at once.
void StepStateBuffer::begin(ExecContext& ctx, const kernels::StepState& host) { upload(ctx, state_, &host); }

}  // namespace nemo
