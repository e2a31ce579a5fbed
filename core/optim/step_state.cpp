#include "core/optim/step_state.h"

#include "core/ops/copy.h"

namespace nemo {

StepStateBuffer::StepStateBuffer(ExecContext& ctx) : state_(ctx.empty({sizeof(kernels::StepState)}, DType::uint8, MemoryTag::data)) {
  begin(ctx, {});
}

void StepStateBuffer::begin(ExecContext& ctx, const kernels::StepState& host) {
  host_ = host;
  upload(ctx, state_, &host_);
}

kernels::StepState StepStateBuffer::read(ExecContext& ctx) const {
  kernels::StepState state;
  download(ctx, &state, state_);
  return state;
}

}  // namespace nemo
