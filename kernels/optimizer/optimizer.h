// The optimizer step over flat buffers: gradient norm, clip factor and skip flag, AdamW. One launch serves all buffers.
#pragma once
#include <cstdint>

#include "kernels/base/cuda_stream.h"
#include "kernels/base/dtype.h"
#include "kernels/base/step_state.h"

namespace nemo::kernels {

// One flat buffer: `count` elements of each array, which start on 16 bytes. Arrays are of the types that the launcher is
// told; `site` keys the buffer's roundings.
struct OptimizerBuffer {
  void* param;
  float* master;  // or null
  void *m, *v;
  const void* grad;
  int64_t count;
  float weight_decay, lr_multiplier = 1;
  uint64_t site = 0;
  int64_t first_index = 0;  // of element 0 in the whole buffer of which this may be a part; a multiple of 8
  int64_t first_chunk = 0;  // set by number_chunks
};

// Buffers are worked on in chunks; a chunk lies in one buffer. The table lies where the kernel runs.
inline constexpr int64_t kOptimizerChunk = 16384;
struct OptimizerBuffers {
  const OptimizerBuffer* table;
  int num_buffers;
  int64_t num_chunks;
};

// Host side, before the table goes to the device: numbers the chunks of all buffers one after another; returns how many.
inline int64_t number_chunks(OptimizerBuffer* buffers, int num_buffers) {
  int64_t chunk = 0;
  for (int i = 0; i < num_buffers; ++i) {
    buffers[i].first_chunk = chunk;
    chunk += (buffers[i].count + kOptimizerChunk - 1) / kOptimizerChunk;
  }
  return chunk;
}

// The buffer that a chunk lies in: the last one that begins no later.
NEMO_HOST_DEVICE inline int buffer_of_chunk(const OptimizerBuffers& buffers, int64_t chunk) {
  int low = 0, high = buffers.num_buffers;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (buffers.table[middle].first_chunk <= chunk) low = middle;
    else high = middle;
  }
  return low;
}

// state->grad_square_sum += sum of grad^2 over all buffers, in fp64 and a fixed order. scratch: fp64 [kSquareSumBlocks].
inline constexpr int64_t kSquareSumBlocks = 1056;
template <class Grad> void square_sum_cpu(StepState* state, const OptimizerBuffers& buffers, double* scratch);
template <class Grad>
NEMO_CUDA_KERNEL void square_sum_cuda(StepState* state, const OptimizerBuffers& buffers, double* scratch, cudaStream_t stream);

// grad_norm = sqrt(grad_square_sum); grad_scale = clip_norm > 0 ? min(1, clip_norm / (grad_norm + 1e-6)) : 1;
// skip = grad_norm or loss_sum not finite.
void finish_grad_norm_cpu(StepState* state);
NEMO_CUDA_KERNEL void finish_grad_norm_cuda(StepState* state, cudaStream_t stream);

// Decoupled weight decay Adam. Loshchilov & Hutter 2019, arXiv:1711.05101.  g = grad * grad_scale
//   m = beta1 m + (1-beta1) g    v = beta2 v + (1-beta2) g^2
//   w = w - lr * lr_multiplier * (m / bias_correction1 / (sqrt(v / bias_correction2) + eps) + weight_decay * w)
// Nothing changes when state->skip is set. w is `master` (fp32) where given, and then also rounded into `param`; without
// master, w is `param` itself, T (float | bf16). Grad and Moment (float | bf16).
// A bf16 w without master, and bf16 moments, are rounded stochastically: one step moves them by less than their last place,
// which rounding to nearest would lose each time. With i = first_index + element, an element takes place
// i % 8 (stochastic_rounding.h) of philox((seed, site), step, i / 8), as number 0 for w, 1 for m, 2 for v. Where w is bf16
// without master, the GPU's quotient and root are its fast ones, wrong in the last places of fp32, far below where w is rounded.
struct AdamWArgs { float beta1, beta2, eps; uint64_t seed = 0; };
template <class T, class Grad, class Moment>
void adamw_cpu(const OptimizerBuffers& buffers, const StepState* state, const AdamWArgs& args);
template <class T, class Grad, class Moment>
NEMO_CUDA_KERNEL void adamw_cuda(const OptimizerBuffers& buffers, const StepState* state, const AdamWArgs& args, cudaStream_t stream);

}  // namespace nemo::kernels
