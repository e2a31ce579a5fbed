// The optimizer step over flat buffers: gradient norm, clip factor and skip flag, AdamW.
#pragma once
#include <cstdint>

#include "kernels/base/cuda_stream.h"
#include "kernels/base/dtype.h"
#include "kernels/base/step_state.h"

namespace nemo::kernels {

// state->grad_square_sum += sum of grad^2 in fp64, fixed order (blocks of fixed size, partial sums added in order).
// scratch: fp64 [kSquareSumBlocks].
inline constexpr int64_t kSquareSumBlocks = 1024;
template <class Grad> void square_sum_cpu(StepState* state, const Grad* grad, int64_t count, double* scratch);
template <class Grad>
NEMO_CUDA_KERNEL void square_sum_cuda(StepState* state, const Grad* grad, int64_t count, double* scratch, cudaStream_t stream);

// grad_norm = sqrt(grad_square_sum); grad_scale = clip_norm > 0 ? min(1, clip_norm / (grad_norm + 1e-6)) : 1;
// skip = grad_norm or loss_sum not finite.
void finish_grad_norm_cpu(StepState* state);
NEMO_CUDA_KERNEL void finish_grad_norm_cuda(StepState* state, cudaStream_t stream);

// Decoupled weight decay Adam. Loshchilov & Hutter 2019, arXiv:1711.05101.  g = grad * grad_scale
//   m = beta1 m + (1-beta1) g    v = beta2 v + (1-beta2) g^2
//   w = w - lr * lr_multiplier * (m / bias_correction1 / (sqrt(v / bias_correction2) + eps) + weight_decay * w)
// Nothing changes when state->skip is set. w is `master` (fp32) where given, and then also rounded into `param`; without
// master, w is `param` itself: fp32, or bf16 rounded stochastically with philox(key, step, first_index + index) (key.site names the
// buffer, of which this may be a part).
//   param [count] T (float | bf16)   grad [count] Grad (float | bf16)   master fp32 or null   m, v [count] Moment (float | bf16)
struct AdamWArgs { float beta1, beta2, eps, weight_decay, lr_multiplier = 1; int64_t first_index = 0; uint64_t seed = 0, site = 0; };
template <class T, class Grad, class Moment>
void adamw_cpu(T* param, float* master, Moment* m, Moment* v, const Grad* grad, const StepState* state, int64_t count,
               const AdamWArgs& args);
template <class T, class Grad, class Moment>
NEMO_CUDA_KERNEL void adamw_cuda(T* param, float* master, Moment* m, Moment* v, const Grad* grad, const StepState* state, int64_t count,
                                 const AdamWArgs& args, cudaStream_t stream);

}  // namespace nemo::kernels
