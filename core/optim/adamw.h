// AdamW over flat buffers: gradient norm, clipping, non-finite guard and the update, all read from and predicated on
// StepState, so the host never waits.  Loshchilov & Hutter 2019, arXiv:1711.05101.
#pragma once
#include <deque>
#include <functional>

#include "core/exec_context.h"
#include "core/nn/parameter_store.h"
#include "core/optim/config.h"

namespace nemo {

class AdamW {
 public:
  // The store has allocated and keeps its buffers: their addresses go to the device here, once.
  AdamW(ExecContext& ctx, ParameterStore& store, const OptimizerConfig& config);

  // Takes the own part of this step's gradients from the store. StepState must hold lr, bias corrections and clip_norm.
  // reduce_sums, if given, adds up StepState's grad_square_sum and loss_sum over whoever holds the rest.
  using ReduceSums = std::function<void(ExecContext&)>;
  void step(ExecContext& ctx, const ReduceSums& reduce_sums = {});

  // First and second moment of the own part of a buffer, laid out like it. For checkpoints.
  struct Moments { const FlatBuffer* flat; Tensor first, second; };
  const std::deque<Moments>& moments() const { return moments_; }

  struct Table {  // kernels::OptimizerBuffer on the device
    Tensor buffers;
    int num_buffers = 0;
    int64_t num_chunks = 0;
  };

 private:
  ParameterStore& store_;
  OptimizerConfig config_;
  std::deque<Moments> moments_;
  Table updated_;           // the own parts of all buffers
  Table counted_;           // what of them this rank adds to the norm: no copy that another counts
};

// bias_correction1, 2 of a step: 1 - beta^step.
void set_bias_corrections(kernels::StepState& state, const OptimizerConfig& config);

}  // namespace nemo
