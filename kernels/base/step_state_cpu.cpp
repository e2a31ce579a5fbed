#include "kernels/base/step_state.h"

#include <algorithm>

namespace nemo::kernels {

void finish_loss_tokens_cpu(StepState* state) { state->inverse_loss_denominator = 1.0f / static_cast<float>(std::max(state->num_loss_tokens, 1.0)); }

}  // namespace nemo::kernels
