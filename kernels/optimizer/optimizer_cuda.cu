#include "kernels/base/cuda_check.h"
#include "kernels/base/pack.cuh"
#include "kernels/base/stochastic_rounding.h"
#include "kernels/optimizer/optimizer.h"

namespace nemo::kernels {
namespace {

constexpr int kThreads = 256, kAddThreads = 1024;

// The sum over a block in a fixed tree; valid in thread 0.
template <int kBlockThreads>
__device__ inline double block_sum(double value) {
  __shared__ double shared[kBlockThreads];
  shared[threadIdx.x] = value;
  __syncthreads();
  for (int half = kBlockThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    __syncthreads();
  }
  return shared[0];
}

// Which elements of which buffer a chunk is. Packs of N begin at `begin`; from packed_end elements go one at a time.
struct Chunk {
  int64_t begin, packed_end, end;
  template <int N>
  static __device__ Chunk of(const OptimizerBuffer& buffer, int64_t chunk) {
    const int64_t begin = (chunk - buffer.first_chunk) * kOptimizerChunk;
    const int64_t end = buffer.count < begin + kOptimizerChunk ? buffer.count : begin + kOptimizerChunk;
    return {begin, begin + (end - begin) / N * N, end};
  }
};

// Always kSquareSumBlocks blocks of kThreads threads, so which thread adds what depends on the buffers' sizes alone.
// fp64 is not what bounds it: an element is one conversion and one multiply-add, under half the time that reading takes.
template <class Grad>
__global__ void __launch_bounds__(kThreads) square_sum_kernel(double* partial, OptimizerBuffers buffers) {
  constexpr int N = sizeof(Grad) == 2 ? kPackSize : kPackSize / 2;
  double sum = 0;
  for (int64_t index = blockIdx.x; index < buffers.num_chunks; index += kSquareSumBlocks) {
    const OptimizerBuffer& buffer = buffers.table[buffer_of_chunk(buffers, index)];
    const Chunk chunk = Chunk::of<N>(buffer, index);
    const Grad* grad = static_cast<const Grad*>(buffer.grad);
#pragma unroll 4
    for (int64_t i = chunk.begin + threadIdx.x * N; i < chunk.packed_end; i += kThreads * N) {
      float value[N];
      load(value, grad + i);
#pragma unroll
      for (int j = 0; j < N; ++j) sum += static_cast<double>(value[j]) * static_cast<double>(value[j]);
    }
    for (int64_t i = chunk.packed_end + threadIdx.x; i < chunk.end; i += kThreads) {
      const double value = static_cast<double>(static_cast<float>(grad[i]));
      sum += value * value;
    }
  }
  sum = block_sum<kThreads>(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kAddThreads) add_partials_kernel(StepState* state, const double* partial) {
  double sum = 0;
  for (int64_t block = threadIdx.x; block < kSquareSumBlocks; block += kAddThreads) sum += partial[block];
  sum = block_sum<kAddThreads>(sum);
  if (threadIdx.x == 0) state->grad_square_sum += sum;
}

__global__ void finish_grad_norm_kernel(StepState* state) {
  const float norm = static_cast<float>(sqrt(state->grad_square_sum));
  state->grad_norm = norm;
  state->grad_scale = state->clip_norm > 0.0f ? fminf(1.0f, state->clip_norm / (norm + 1e-6f)) : 1.0f;
  state->skip = isfinite(norm) && isfinite(state->loss_sum) ? 0 : 1;
}

// Rounds N elements from `i` on as the header says; what is fp32 stays as it is.
template <class State, int N>
__device__ inline void store_state(State* to, int64_t i, int64_t first_index, float (&value)[N], RandomKey key, uint64_t step, uint64_t which) {
  if constexpr (sizeof(State) == 2) {
    const int64_t index = first_index + i;
    const Philox4 draw = philox(key, step, static_cast<uint64_t>(index / kRoundingsPerDraw * 4) + which);
    const int first = static_cast<int>(index % kRoundingsPerDraw);
#pragma unroll
    for (int j = 0; j < N; ++j) {  // exact in bf16 from here on: the store keeps it
      value[j] = static_cast<float>(stochastically_rounded(value[j], rounding_bits(draw, N == kPackSize ? j : first + j)));
    }
  }
  store(to + i, value);
}

struct StepNumbers {
  float beta1, beta2, eps, lr, weight_decay, grad_scale, inverse_correction1, inverse_correction2;
  RandomKey key;
  uint64_t step;
};

template <class T, class Grad, class Moment, int N>
__device__ inline void update(const OptimizerBuffer& buffer, const StepNumbers& numbers, int64_t i) {
  T* const param = static_cast<T*>(buffer.param);
  Moment *const m = static_cast<Moment*>(buffer.m), *const v = static_cast<Moment*>(buffer.v);
  float w[N], g[N], first[N], second[N];
  if (buffer.master) {
    load(w, buffer.master + i);
  } else {
    load(w, param + i);
  }
  load(g, static_cast<const Grad*>(buffer.grad) + i);
  load(first, m + i);
  load(second, v + i);
#pragma unroll
  for (int j = 0; j < N; ++j) {
    const float gradient = g[j] * numbers.grad_scale;
    first[j] = numbers.beta1 * first[j] + (1.0f - numbers.beta1) * gradient;
    second[j] = numbers.beta2 * second[j] + (1.0f - numbers.beta2) * gradient * gradient;
    const float change = first[j] * numbers.inverse_correction1 / (sqrtf(second[j] * numbers.inverse_correction2) + numbers.eps);
    w[j] -= numbers.lr * (change + numbers.weight_decay * w[j]);
  }
  store_state(m, i, buffer.first_index, first, numbers.key, numbers.step, 1);
  store_state(v, i, buffer.first_index, second, numbers.key, numbers.step, 2);
  if (buffer.master) {
    store(buffer.master + i, w);
    store(param + i, w);
  } else {
    store_state(param, i, buffer.first_index, w, numbers.key, numbers.step, 0);
  }
}

// Four blocks a multiprocessor: enough loads in flight beside the arithmetic of the draws.
template <class T, class Grad, class Moment>
__global__ void __launch_bounds__(kThreads, 4) adamw_kernel(OptimizerBuffers buffers, const StepState* state, AdamWArgs args) {
  if (state->skip) return;
  const OptimizerBuffer buffer = buffers.table[buffer_of_chunk(buffers, blockIdx.x)];
  const StepNumbers numbers{args.beta1, args.beta2, args.eps, state->lr * buffer.lr_multiplier, buffer.weight_decay,
                            state->grad_scale, 1.0f / state->bias_correction1, 1.0f / state->bias_correction2,
                            RandomKey{args.seed, buffer.site}, static_cast<uint64_t>(state->step)};
  // 16-byte accesses of the wider type, so that a warp's accesses are whole lines.
  constexpr int N = sizeof(Grad) == 2 && sizeof(Moment) == 2 && sizeof(T) == 2 ? kPackSize : kPackSize / 2;
  const Chunk chunk = Chunk::of<N>(buffer, blockIdx.x);
  for (int64_t i = chunk.begin + threadIdx.x * N; i < chunk.packed_end; i += kThreads * N) {
    update<T, Grad, Moment, N>(buffer, numbers, i);
  }
  for (int64_t i = chunk.packed_end + threadIdx.x; i < chunk.end; i += kThreads) update<T, Grad, Moment, 1>(buffer, numbers, i);
}

}  // namespace

template <class Grad>
void square_sum_cuda(StepState* state, const OptimizerBuffers& buffers, double* scratch, cudaStream_t stream) {
  if (buffers.num_chunks == 0) return;
  square_sum_kernel<Grad><<<kSquareSumBlocks, kThreads, 0, stream>>>(scratch, buffers);
  check_launch("square_sum");
  add_partials_kernel<<<1, kAddThreads, 0, stream>>>(state, scratch);
  check_launch("square_sum");
}

void finish_grad_norm_cuda(StepState* state, cudaStream_t stream) {
  finish_grad_norm_kernel<<<1, 1, 0, stream>>>(state);
  check_launch("finish_grad_norm");
}

template <class T, class Grad, class Moment>
void adamw_cuda(const OptimizerBuffers& buffers, const StepState* state, const AdamWArgs& args, cudaStream_t stream) {
  if (buffers.num_chunks == 0) return;
  adamw_kernel<T, Grad, Moment><<<static_cast<unsigned>(buffers.num_chunks), kThreads, 0, stream>>>(buffers, state, args);
  check_launch("adamw");
}

#define NEMO_ADAMW(T, Grad)                                                                                              \
  template void adamw_cuda<T, Grad, float>(const OptimizerBuffers&, const StepState*, const AdamWArgs&, cudaStream_t); \
  template void adamw_cuda<T, Grad, bf16>(const OptimizerBuffers&, const StepState*, const AdamWArgs&, cudaStream_t);
NEMO_ADAMW(float, float)
NEMO_ADAMW(float, bf16)
NEMO_ADAMW(bf16, float)
NEMO_ADAMW(bf16, bf16)
#undef NEMO_ADAMW
template void square_sum_cuda<float>(StepState*, const OptimizerBuffers&, double*, cudaStream_t);
template void square_sum_cuda<bf16>(StepState*, const OptimizerBuffers&, double*, cudaStream_t);

}  // namespace nemo::kernels
