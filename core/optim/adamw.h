// AdamW over flat buffers: gradient norm, clipping, non-finite guard and the update, all read from and predicated on
// StepState, so the host never waits.  Loshchilov & Hutter 2019, arXiv:1711.05101.
#pragma once
#include <deque>

#include "core/exec_context.h"
#include "core/nn/parameter_store.h"
#include "core/optim/config.h"

namespace nemo {

class AdamW {
 public:
  // The store has allocated and keeps its buffers: their addresses go to the device here, once.
  AdamW(ExecContext& ctx, ParameterStore& store, const OptimizerConfig& config);

  // Takes the gradients of this step from the store. StepState must hold lr, bias corrections and clip_norm.
  void step(ExecContext& ctx);

  // First and second moment of a parameter's buffer, laid out like it. For checkpoints.
  struct Moments { const FlatBuffer* flat; Tensor first, second; };
  const std::deque<Moments>& moments() const { return moments_; }

 private:
  ParameterStore& store_;
  OptimizerConfig config_;
  std::deque<Moments> moments_;
  Tensor table_;            // one kernels::OptimizerBuffer per entry of moments_, on the device
  int64_t num_chunks_ = 0;
};

// bias_correction1, 2 of a step: 1 - beta^step.
void set_bias_corrections(kernels::StepState& state, const OptimizerConfig& config);

}  // namespace nemo
