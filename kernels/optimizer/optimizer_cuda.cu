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

struct StepNumbers {
  float beta1, beta2, eps, lr, weight_decay, grad_scale, inverse_correction1, inverse_correction2;
  RandomKey key;
  uint64_t step;
};

// a / b and sqrt(a) in one instruction of the special function unit each: about 1e-7 of the result wrong, numbers below
// 1e-38 taken as 0.
__device__ inline float fast_quotient(float a, float b) {
  float inverse;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(b));
  return a * inverse;
}
__device__ inline float fast_root(float a) {
  float root;
  asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(root) : "f"(a));
  return root;
}

// One element's step from g, m, v, w. kFast: w is rounded to bf16 next.
template <bool kFast>
__device__ inline void step_element(const StepNumbers& numbers, float g, float& m, float& v, float& w) {
  const float gradient = g * numbers.grad_scale;
  m = numbers.beta1 * m + (1.0f - numbers.beta1) * gradient;
  v = numbers.beta2 * v + (1.0f - numbers.beta2) * gradient * gradient;
  const float mean = m * numbers.inverse_correction1, square = v * numbers.inverse_correction2;
  const float change =
      kFast ? fast_quotient(mean, fast_root(square) + numbers.eps) : mean / (sqrtf(square) + numbers.eps);
  w -= numbers.lr * (change + numbers.weight_decay * w);
}

// Stores as number `which` of the draw at `place` and after says. finite: no value is NaN, so that the sum with random bits
// needs no guard (that of an infinity keeps its upper half), and two upper halves are one byte permutation.
template <int N>
__device__ inline void store_rounded(bf16* to, const float (&value)[N], const Philox4& draw, int which, int place,
                                     bool finite) {
  const Philox4 mine = draw_of(draw, which);
  if constexpr (N == 1) {
    *to = stochastically_rounded(value[0], rounding_bits(mine, place));
  } else {
    uint32_t words[N / 2];
    const auto guarded = [&](int j) -> uint32_t {
      return stochastically_rounded(value[j], rounding_bits(mine, place + j)).bits;
    };
    const auto sum = [&](int j) { return __float_as_uint(value[j]) + rounding_bits(mine, place + j); };
#pragma unroll
    for (int j = 0; j < N; j += 2)
      words[j / 2] = finite ? __byte_perm(sum(j), sum(j + 1), 0x7632) : guarded(j) | guarded(j + 1) << 16;
    if constexpr (N == kPackSize) {
      *reinterpret_cast<uint4*>(to) = make_uint4(words[0], words[1], words[2], words[3]);
    } else {
      *reinterpret_cast<uint2*>(to) = make_uint2(words[0], words[1]);
    }
  }
}

template <class T, class Grad, class Moment, int N>
__device__ inline void update(const OptimizerBuffer& buffer, const StepNumbers& numbers, int64_t i) {
  constexpr bool kRoundedMoments = sizeof(Moment) == 2, kMayRoundWeight = sizeof(T) == 2;
  T* const param = static_cast<T*>(buffer.param);
  Moment *const m = static_cast<Moment*>(buffer.m), *const v = static_cast<Moment*>(buffer.v);
  const bool rounds_weight = kMayRoundWeight && buffer.master == nullptr;
  float w[N], g[N], first[N], second[N];
  if (buffer.master) {
    load(w, buffer.master + i);
  } else {
    load(w, param + i);
  }
  load(g, static_cast<const Grad*>(buffer.grad) + i);
  load(first, m + i);
  load(second, v + i);
  Philox4 draw{};  // asks for no loaded value: it fills the wait for them
  const int place = N == kPackSize ? 0 : static_cast<int>((buffer.first_index + i) % kRoundingsPerDraw);
  if (kRoundedMoments || rounds_weight)
    draw = philox(numbers.key, numbers.step, static_cast<uint64_t>((buffer.first_index + i) / kRoundingsPerDraw));
  if (rounds_weight) {
#pragma unroll
    for (int j = 0; j < N; ++j) step_element<true>(numbers, g[j], first[j], second[j], w[j]);
  } else {
#pragma unroll
    for (int j = 0; j < N; ++j) step_element<false>(numbers, g[j], first[j], second[j], w[j]);
  }
  float nan_if_any = 0;  // a NaN among a moment, the gradient and the weight has reached the new weight
#pragma unroll
  for (int j = 0; j < N; ++j) nan_if_any = fmaf(w[j], 0.0f, nan_if_any);
  const bool finite = nan_if_any == 0.0f;
  if constexpr (kRoundedMoments) {
    store_rounded(m + i, first, draw, 1, place, finite);
    store_rounded(v + i, second, draw, 2, place, finite);
  } else {
    store(m + i, first);
    store(v + i, second);
  }
  if (buffer.master) store(buffer.master + i, w);
  if constexpr (kMayRoundWeight) {
    if (rounds_weight) return store_rounded(param + i, w, draw, 0, place, finite);
  }
  store(param + i, w);
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
