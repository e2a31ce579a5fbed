#include "kernels/base/cuda_check.h"
#include "kernels/base/step_state.h"

namespace nemo::kernels {
namespace {

__global__ void finish_loss_tokens_kernel(StepState* state) { state->inverse_loss_denominator = 1.0f / static_cast<float>(fmax(state->num_loss_tokens, 1.0)); }

}  // namespace

void finish_loss_tokens_cuda(StepState* state, cudaStream_t stream) {
  finish_loss_tokens_kernel<<<1, 1, 0, stream>>>(state);
  check_launch("finish_loss_tokens");
}

}  // namespace nemo::kernels
