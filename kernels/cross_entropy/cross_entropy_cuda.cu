#include <algorithm>

#include "kernels/base/cuda_check.h"
#include "kernels/base/pack.cuh"
#include "kernels/cross_entropy/cross_entropy.h"

namespace nemo::kernels {
namespace {

constexpr int kThreads = 512, kSumThreads = 1024;
constexpr float kLog2E = 1.4426950408889634f;

// e^(x - shift). bf16 logits carry 8 bits: the hardware's power of two is exact enough by far; fp32 takes the library's.
template <class T>
__device__ inline float exp_of_difference(float x, float shift) {
  if constexpr (sizeof(T) == 2) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"((x - shift) * kLog2E));
    return y;
  } else {
    return expf(x - shift);
  }
}

// sum of exp(logit - max), with its max; merging in a fixed order keeps the bits.
struct OnlineSum { float max, sum; };

__device__ inline OnlineSum merged(OnlineSum a, OnlineSum b) {
  const float max = fmaxf(a.max, b.max);
  if (max == -INFINITY) return {max, a.sum + b.sum};  // nothing yet on either side, or NaN, which the sum carries
  return {max, a.sum * expf(a.max - max) + b.sum * expf(b.max - max)};
}

__device__ inline float capped(float raw, float softcap) { return softcap > 0.0f ? softcap * tanhf(raw / softcap) : raw; }

template <class T, int N>
__device__ inline void add_logits(OnlineSum& online, float (&value)[N], float softcap) {
  float max = online.max;
#pragma unroll
  for (int j = 0; j < N; ++j) {
    value[j] = capped(value[j], softcap);
    max = fmaxf(max, value[j]);
  }
  // All logits so far -inf: exp(-inf - 0) = 0 is what they add; NaN still comes through.
  const float shift = max == -INFINITY ? 0.0f : max;
  float sum = online.max == -INFINITY ? online.sum : online.sum * exp_of_difference<T>(online.max, shift);
#pragma unroll
  for (int j = 0; j < N; ++j) sum += exp_of_difference<T>(value[j], shift);
  online = {max, sum};
}

// The log of the sum over the block, the same in every thread.
template <int kBlockThreads>
__device__ inline float log_sum_of_block(OnlineSum online) {
  constexpr int kWarps = kBlockThreads / 32;
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    const OnlineSum other{__shfl_down_sync(0xffffffffu, online.max, distance), __shfl_down_sync(0xffffffffu, online.sum, distance)};
    online = merged(online, other);
  }
  __shared__ OnlineSum warps[kWarps];
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = online;
  __syncthreads();
  online = warps[0];
  for (int warp = 1; warp < kWarps; ++warp) online = merged(online, warps[warp]);
  return online.max + logf(online.sum);
}

__device__ inline float log_prob_of(int32_t label, float label_logit, float log_sum, const CrossEntropyShape& shape) {
  if (label == kIgnoredLabel || label == kForeignLabel) return 0.0f;
  if (label < 0 || label >= shape.classes) return NAN;  // no such class: the step's loss is not finite and the update is skipped
  return capped(label_logit, shape.softcap) - log_sum;
}

__device__ inline bool is_class(int32_t label, const CrossEntropyShape& shape) { return label >= 0 && label < shape.classes; }

// The gradient of N logits from `column` on, in place.
template <class T, int N>
__device__ inline void differentiate(float (&value)[N], int64_t column, int32_t label, float log_sum, float weight,
                                     const CrossEntropyShape& shape) {
  const float softcap = shape.softcap;
#pragma unroll
  for (int j = 0; j < N; ++j) {
    if (label == kIgnoredLabel || column + j >= shape.classes) {
      value[j] = 0.0f;
      continue;
    }
    const float logit = capped(value[j], softcap);
    value[j] = weight * ((column + j == label ? 1.0f : 0.0f) - exp_of_difference<T>(logit, log_sum));
    if (softcap > 0.0f) value[j] *= 1.0f - (logit / softcap) * (logit / softcap);
  }
}

template <int N, class T>
__global__ void __launch_bounds__(kThreads)
    cross_entropy_forward_kernel(float* log_prob, float* lse, const T* logits, const int32_t* labels, CrossEntropyShape shape) {
  const int64_t row = blockIdx.x;
  const T* row_logits = logits + row * shape.stride;
  OnlineSum online{-INFINITY, 0.0f};
  const int64_t packed = shape.classes / N * N;
  for (int64_t c = static_cast<int64_t>(threadIdx.x) * N; c < packed; c += kThreads * N) {
    float value[N];
    load(value, row_logits + c);
    add_logits<T>(online, value, shape.softcap);
  }
  for (int64_t c = packed + threadIdx.x; c < shape.classes; c += kThreads) {
    float value[1] = {static_cast<float>(row_logits[c])};
    add_logits<T>(online, value, shape.softcap);
  }
  const float log_sum = log_sum_of_block<kThreads>(online);
  if (threadIdx.x != 0) return;
  const int32_t label = labels[row];
  lse[row] = log_sum;
  log_prob[row] = log_prob_of(label, is_class(label, shape) ? static_cast<float>(row_logits[label]) : 0.0f, log_sum, shape);
}

template <int N, class T>
__global__ void __launch_bounds__(kThreads)
    cross_entropy_backward_kernel(T* logits, const float* lse, const int32_t* labels, const float* dlog_prob,
                                  const StepState* state, CrossEntropyShape shape) {
  const int64_t row = blockIdx.x;
  const int32_t label = labels[row];
  const float weight = dlog_prob ? dlog_prob[row] : -state->inverse_loss_denominator, log_sum = lse[row];
  T* row_logits = logits + row * shape.stride;
  for (int64_t c = static_cast<int64_t>(threadIdx.x) * N; c < shape.stride; c += kThreads * N) {
    float value[N] = {};
    if (label != kIgnoredLabel && c < shape.classes) load(value, row_logits + c);
    differentiate<T>(value, c, label, log_sum, weight, shape);
    store(row_logits + c, value);
  }
}

// The first `held` packs of the row stay in shared memory between the two passes over it; the rest, which does not fit, is
// read again, from the second-level cache by then. kAhead packs are asked for at once.
template <int kBlockThreads, class T>
__global__ void __launch_bounds__(kBlockThreads, 1024 / kBlockThreads)
    cross_entropy_held_kernel(float* log_prob, float* lse, T* logits, const int32_t* labels, const StepState* state,
                              CrossEntropyShape shape, int held) {
  constexpr int N = kPackSize, kAhead = 4, kAccesses = N * sizeof(T) / sizeof(uint4);
  extern __shared__ uint4 kept[];  // [kAccesses][held], so that neighbours' accesses are neighbours
  const int64_t row = blockIdx.x;
  const int32_t label = labels[row];
  T* const row_logits = logits + row * shape.stride;
  const float label_logit = is_class(label, shape) ? static_cast<float>(row_logits[label]) : 0.0f;  // before it is overwritten
  const float weight = -state->inverse_loss_denominator;
  const int packs = static_cast<int>(shape.stride / N);
  const int full_packs = static_cast<int>(shape.classes / N);  // beyond, some or all columns are padding

  OnlineSum online{-INFINITY, 0.0f};
  for (int first = threadIdx.x; first < packs; first += kBlockThreads * kAhead) {
    uint4 raw[kAhead][kAccesses];
#pragma unroll
    for (int ahead = 0; ahead < kAhead; ++ahead) {
      const int pack = first + ahead * kBlockThreads;
      if (pack >= packs) continue;
#pragma unroll
      for (int i = 0; i < kAccesses; ++i) raw[ahead][i] = reinterpret_cast<const uint4*>(row_logits)[pack * kAccesses + i];
    }
#pragma unroll
    for (int ahead = 0; ahead < kAhead; ++ahead) {
      const int pack = first + ahead * kBlockThreads;
      if (pack >= packs) continue;
      if (pack < held) {
#pragma unroll
        for (int i = 0; i < kAccesses; ++i) kept[i * held + pack] = raw[ahead][i];
      }
      float value[N];
      load(value, reinterpret_cast<const T*>(raw[ahead]));
      if (pack < full_packs) {
        add_logits<T>(online, value, shape.softcap);
      } else {
        for (int j = 0; j < N; ++j) {
          float one[1] = {value[j]};
          if (static_cast<int64_t>(pack) * N + j < shape.classes) add_logits<T>(online, one, shape.softcap);
        }
      }
    }
  }
  const float log_sum = log_sum_of_block<kBlockThreads>(online);  // a barrier: label_logit has been read by all
  if (threadIdx.x == 0) {
    lse[row] = log_sum;
    log_prob[row] = log_prob_of(label, label_logit, log_sum, shape);
  }
  for (int pack = threadIdx.x; pack < packs; pack += kBlockThreads) {  // each thread its own packs again
    uint4 raw[kAccesses];
#pragma unroll
    for (int i = 0; i < kAccesses; ++i) {
      raw[i] = pack < held ? kept[i * held + pack] : reinterpret_cast<const uint4*>(row_logits)[pack * kAccesses + i];
    }
    float value[N];
    load(value, reinterpret_cast<const T*>(raw));
    differentiate<T>(value, static_cast<int64_t>(pack) * N, label, log_sum, weight, shape);
    store(row_logits + static_cast<int64_t>(pack) * N, value);
  }
}

__global__ void __launch_bounds__(kSumThreads) loss_sum_kernel(StepState* state, const float* log_prob, int64_t rows) {
  __shared__ double shared[kSumThreads];
  double sum = 0;
  for (int64_t row = threadIdx.x; row < rows; row += kSumThreads) sum -= static_cast<double>(log_prob[row]);
  shared[threadIdx.x] = sum;
  __syncthreads();
  for (int half = kSumThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) state->loss_sum += shared[0];
}

}  // namespace

template <class T>
void cross_entropy_forward_cuda(float* log_prob, float* lse, const T* logits, const int32_t* labels, const CrossEntropyShape& shape,
                                cudaStream_t stream) {
  if (shape.rows == 0) return;
  const unsigned blocks = static_cast<unsigned>(shape.rows);
  if (pack_aligned(logits) && pack_stride(shape.stride)) {
    cross_entropy_forward_kernel<kPackSize><<<blocks, kThreads, 0, stream>>>(log_prob, lse, logits, labels, shape);
  } else {
    cross_entropy_forward_kernel<1><<<blocks, kThreads, 0, stream>>>(log_prob, lse, logits, labels, shape);
  }
  check_launch("cross_entropy_forward");
}

template <class T>
void cross_entropy_backward_cuda(T* logits, const float* lse, const int32_t* labels, const float* dlog_prob, const StepState* state,
                                 const CrossEntropyShape& shape, cudaStream_t stream) {
  if (shape.rows == 0) return;
  const unsigned blocks = static_cast<unsigned>(shape.rows);
  if (pack_aligned(logits) && pack_stride(shape.stride)) {
    cross_entropy_backward_kernel<kPackSize><<<blocks, kThreads, 0, stream>>>(logits, lse, labels, dlog_prob, state, shape);
  } else {
    cross_entropy_backward_kernel<1><<<blocks, kThreads, 0, stream>>>(logits, lse, labels, dlog_prob, state, shape);
  }
  check_launch("cross_entropy_backward");
}

template <int kBlockThreads, class T>
void launch_held(float* log_prob, float* lse, T* logits, const int32_t* labels, const StepState* state, const CrossEntropyShape& shape,
                 int64_t shared_bytes, cudaStream_t stream) {
  constexpr int64_t kPackBytes = kPackSize * sizeof(T);
  const int64_t held = std::min(shape.stride / kPackSize, shared_bytes / kPackBytes);
  cuda_check(cudaFuncSetAttribute(cross_entropy_held_kernel<kBlockThreads, T>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(held * kPackBytes)),
             "cudaFuncSetAttribute");
  cross_entropy_held_kernel<kBlockThreads, T><<<static_cast<unsigned>(shape.rows), kBlockThreads, held * kPackBytes, stream>>>(
      log_prob, lse, logits, labels, state, shape, static_cast<int>(held));
}

template <class T>
void cross_entropy_forward_backward_cuda(float* log_prob, float* lse, T* logits, const int32_t* labels, const StepState* state,
                                         const CrossEntropyShape& shape, cudaStream_t stream) {
  if (shape.rows == 0) return;
  if (!pack_aligned(logits) || !pack_stride(shape.stride)) {
    cross_entropy_forward_cuda<T>(log_prob, lse, logits, labels, shape, stream);
    cross_entropy_backward_cuda<T>(logits, lse, labels, nullptr, state, shape, stream);
    return;
  }
  int device = 0, block_bytes = 0, multiprocessor_bytes = 0;
  cuda_check(cudaGetDevice(&device), "cudaGetDevice");
  cuda_check(cudaDeviceGetAttribute(&block_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "cudaDeviceGetAttribute");
  cuda_check(cudaDeviceGetAttribute(&multiprocessor_bytes, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device),
             "cudaDeviceGetAttribute");
  // Two blocks to a multiprocessor where two rows fit, so that one reads while the other works; else one wide block.
  constexpr int64_t kStatic = 2048;  // the system's share of a block and the kernel's own arrays
  const int64_t row_bytes = shape.stride * static_cast<int64_t>(sizeof(T));
  if (row_bytes <= multiprocessor_bytes / 2 - kStatic) {
    launch_held<512>(log_prob, lse, logits, labels, state, shape, row_bytes, stream);
  } else {
    launch_held<1024>(log_prob, lse, logits, labels, state, shape, block_bytes - kStatic, stream);
  }
  check_launch("cross_entropy_forward_backward");
}

void loss_sum_cuda(StepState* state, const float* log_prob, int64_t rows, cudaStream_t stream) {
  if (rows == 0) return;
  loss_sum_kernel<<<1, kSumThreads, 0, stream>>>(state, log_prob, rows);
  check_launch("loss_sum");
}

template void cross_entropy_forward_cuda(float*, float*, const float*, const int32_t*, const CrossEntropyShape&, cudaStream_t);
template void cross_entropy_forward_cuda(float*, float*, const bf16*, const int32_t*, const CrossEntropyShape&, cudaStream_t);
template void cross_entropy_backward_cuda(float*, const float*, const int32_t*, const float*, const StepState*,
                                          const CrossEntropyShape&, cudaStream_t);
template void cross_entropy_backward_cuda(bf16*, const float*, const int32_t*, const float*, const StepState*,
                                          const CrossEntropyShape&, cudaStream_t);
template void cross_entropy_forward_backward_cuda(float*, float*, float*, const int32_t*, const StepState*, const CrossEntropyShape&,
                                                  cudaStream_t);
template void cross_entropy_forward_backward_cuda(float*, float*, bf16*, const int32_t*, const StepState*, const CrossEntropyShape&,
                                                  cudaStream_t);

}  // namespace nemo::kernels
