#include "kernels/base/philox.h"
#include "kernels/base/pointwise.cuh"
#include "kernels/optimizer/optimizer.h"

namespace nemo::kernels {
namespace {

constexpr int kSumThreads = 256;

// The sum over a block in a fixed tree; valid in thread 0.
template <int kThreads>
__device__ inline double block_sum(double value) {
  __shared__ double shared[kThreads];
  shared[threadIdx.x] = value;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    __syncthreads();
  }
  return shared[0];
}

// Always kSquareSumBlocks blocks of kSumThreads threads, so which thread adds what depends on the count alone.
template <class Grad>
__global__ void __launch_bounds__(kSumThreads)
    square_sum_kernel(double* partial, const Grad* grad, int64_t packed_count, int64_t count) {
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kSumThreads + threadIdx.x, step = kSquareSumBlocks * kSumThreads;
  double sum = 0;
#pragma unroll 2
  for (int64_t i = first * kPackSize; i < packed_count; i += step * kPackSize) {
    float value[kPackSize];
    load(value, grad + i);
#pragma unroll
    for (int j = 0; j < kPackSize; ++j) sum += static_cast<double>(value[j]) * static_cast<double>(value[j]);
  }
  for (int64_t i = packed_count + first; i < count; i += step) {
    const double value = static_cast<double>(static_cast<float>(grad[i]));
    sum += value * value;
  }
  sum = block_sum<kSumThreads>(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kSquareSumBlocks) add_partials_kernel(StepState* state, const double* partial) {
  const double sum = block_sum<kSquareSumBlocks>(partial[threadIdx.x]);
  if (threadIdx.x == 0) state->grad_square_sum += sum;
}

__global__ void finish_grad_norm_kernel(StepState* state) {
  const float norm = static_cast<float>(sqrt(state->grad_square_sum));
  state->grad_norm = norm;
  state->grad_scale = state->clip_norm > 0.0f ? fminf(1.0f, state->clip_norm / (norm + 1e-6f)) : 1.0f;
  state->skip = isfinite(norm) && isfinite(state->loss_sum) ? 0 : 1;
}

// Rounds up with the probability that the dropped 16 bits say, so that the mean of many roundings is the value itself.
__device__ inline bf16 stochastically_rounded(float value, uint32_t random) {
  if (!isfinite(value)) return narrowed<bf16>(value);
  bf16 result;
  result.bits = static_cast<uint16_t>((__float_as_uint(value) + (random & 0xffffu)) >> 16);
  return result;
}

template <class T, class Grad, class Moment>
struct AdamWBody {
  T* param;
  float* master;
  Moment *m, *v;
  const Grad* grad;
  const StepState* state;
  AdamWArgs args;

  template <int N>
  __device__ void at(int64_t i) const {
    if (state->skip) return;
    const float lr = state->lr * args.lr_multiplier, scale = state->grad_scale;
    const float correction1 = state->bias_correction1, correction2 = state->bias_correction2;
    float w[N], g[N], first[N], second[N];
    if (master) {
      load(w, master + i);
    } else {
      load(w, param + i);
    }
    load(g, grad + i);
    load(first, m + i);
    load(second, v + i);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const float gradient = g[j] * scale;
      first[j] = args.beta1 * first[j] + (1.0f - args.beta1) * gradient;
      second[j] = args.beta2 * second[j] + (1.0f - args.beta2) * gradient * gradient;
      const float update = first[j] / correction1 / (sqrtf(second[j] / correction2) + args.eps);
      w[j] -= lr * (update + args.weight_decay * w[j]);
    }
    store(m + i, first);
    store(v + i, second);
    if (master) store(master + i, w);
    if constexpr (sizeof(T) == 2) {
      if (!master) {
        const RandomKey key{args.seed, args.site};
#pragma unroll
        for (int j = 0; j < N; ++j) {
          const Philox4 draw = philox(key, static_cast<uint64_t>(state->step), static_cast<uint64_t>(args.first_index + i + j));
          w[j] = static_cast<float>(stochastically_rounded(w[j], draw.x));  // exact in bf16: the store below keeps it
        }
      }
    }
    store(param + i, w);
  }
};

}  // namespace

template <class Grad>
void square_sum_cuda(StepState* state, const Grad* grad, int64_t count, double* scratch, cudaStream_t stream) {
  if (count == 0) return;
  const int64_t packed_count = pack_aligned(grad) ? count / kPackSize * kPackSize : 0;
  square_sum_kernel<<<kSquareSumBlocks, kSumThreads, 0, stream>>>(scratch, grad, packed_count, count);
  check_launch("square_sum");
  add_partials_kernel<<<1, kSquareSumBlocks, 0, stream>>>(state, scratch);
  check_launch("square_sum");
}

void finish_grad_norm_cuda(StepState* state, cudaStream_t stream) {
  finish_grad_norm_kernel<<<1, 1, 0, stream>>>(state);
  check_launch("finish_grad_norm");
}

template <class T, class Grad, class Moment>
void adamw_cuda(T* param, float* master, Moment* m, Moment* v, const Grad* grad, const StepState* state, int64_t count,
                const AdamWArgs& args, cudaStream_t stream) {
  const bool aligned = pack_aligned(param) && pack_aligned(master) && pack_aligned(m) && pack_aligned(v) && pack_aligned(grad);
  launch_flat("adamw", count, aligned, AdamWBody<T, Grad, Moment>{param, master, m, v, grad, state, args}, stream);
}

#define NEMO_ADAMW(T, Grad)                                                                                                     \
  template void adamw_cuda(T*, float*, float*, float*, const Grad*, const StepState*, int64_t, const AdamWArgs&, cudaStream_t); \
  template void adamw_cuda(T*, float*, bf16*, bf16*, const Grad*, const StepState*, int64_t, const AdamWArgs&, cudaStream_t);
NEMO_ADAMW(float, float)
NEMO_ADAMW(float, bf16)
NEMO_ADAMW(bf16, float)
NEMO_ADAMW(bf16, bf16)
#undef NEMO_ADAMW
template void square_sum_cuda(StepState*, const float*, int64_t, double*, cudaStream_t);
template void square_sum_cuda(StepState*, const bf16*, int64_t, double*, cudaStream_t);

}  // namespace nemo::kernels
