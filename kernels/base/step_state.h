// What changes from step to step, in one place that kernels read through a pointer, so a captured step can be replayed.
// The host writes the first part before each step; kernels write the second; the host reads it back late.
#pragma once
#include <cstdint>

#include "kernels/base/cuda_stream.h"

namespace nemo::kernels {

struct StepState {
  // written by the host
  int64_t step = 0;                     // optimizer step, counted from 1; also the random step
  float lr = 0;                         // learning rate of this step
  float bias_correction1 = 1, bias_correction2 = 1;  // 1 - beta^step, Adam
  float inverse_loss_denominator = 1;   // 1 / num_loss_tokens
  float clip_norm = 0;                  // global gradient norm to clip at; 0 = no clipping
  // written by kernels
  float grad_norm = 0;                  // global norm before clipping
  float grad_scale = 1;                 // min(1, clip_norm / (grad_norm + 1e-6)); 1 without clipping
  int32_t skip = 0;                     // 1: loss or gradient is not finite, the update leaves everything as it is
  double grad_square_sum = 0;           // sum of squares of all gradients, zeroed by begin_step
  double loss_sum = 0;                  // sum over tokens of -log p of this step, all micro-batches
  double num_loss_tokens = 1;           // tokens that count, over all micro-batches; the host writes this rank's, a reduction all ranks'
};

// inverse_loss_denominator = 1 / max(num_loss_tokens, 1), after num_loss_tokens was summed over ranks.
void finish_loss_tokens_cpu(StepState* state);
NEMO_CUDA_KERNEL void finish_loss_tokens_cuda(StepState* state, cudaStream_t stream);

}  // namespace nemo::kernels
