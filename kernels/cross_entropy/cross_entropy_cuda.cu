#include "kernels/base/cuda_check.h"
#include "kernels/base/pack.cuh"
#include "kernels/cross_entropy/cross_entropy.h"

namespace nemo::kernels {
namespace {

constexpr int kThreads = 512, kWarps = kThreads / 32, kSumThreads = 1024;

// sum of exp(logit - max), with its max; merging in a fixed order keeps the bits.
struct OnlineSum { float max, sum; };

__device__ inline OnlineSum merged(OnlineSum a, OnlineSum b) {
  const float max = fmaxf(a.max, b.max);
  if (max == -INFINITY) return {max, a.sum + b.sum};  // nothing yet on either side, or NaN, which the sum carries
  return {max, a.sum * expf(a.max - max) + b.sum * expf(b.max - max)};
}

__device__ inline float capped(float raw, float softcap) { return softcap > 0.0f ? softcap * tanhf(raw / softcap) : raw; }

template <int N, class T>
__device__ inline void add_logits(OnlineSum& online, const T* logits, float softcap) {
  float value[N];
  load(value, logits);
  float max = online.max;
#pragma unroll
  for (int j = 0; j < N; ++j) {
    value[j] = capped(value[j], softcap);
    max = fmaxf(max, value[j]);
  }
  // All logits so far -inf: exp(-inf - 0) = 0 is what they add; NaN still comes through.
  const float shift = max == -INFINITY ? 0.0f : max;
  float sum = online.max == -INFINITY ? online.sum : online.sum * expf(online.max - shift);
#pragma unroll
  for (int j = 0; j < N; ++j) sum += expf(value[j] - shift);
  online = {max, sum};
}

template <int N, class T>
__global__ void __launch_bounds__(kThreads)
    cross_entropy_forward_kernel(float* log_prob, float* lse, const T* logits, const int32_t* labels, CrossEntropyShape shape) {
  const int64_t row = blockIdx.x;
  const T* row_logits = logits + row * shape.stride;
  OnlineSum online{-INFINITY, 0.0f};
  const int64_t packed = shape.classes / N * N;
  for (int64_t c = static_cast<int64_t>(threadIdx.x) * N; c < packed; c += kThreads * N) {
    add_logits<N>(online, row_logits + c, shape.softcap);
  }
  for (int64_t c = packed + threadIdx.x; c < shape.classes; c += kThreads) add_logits<1>(online, row_logits + c, shape.softcap);
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    const OnlineSum other{__shfl_down_sync(0xffffffffu, online.max, distance), __shfl_down_sync(0xffffffffu, online.sum, distance)};
    online = merged(online, other);
  }
  __shared__ float warp_max[kWarps], warp_sum[kWarps];
  if (threadIdx.x % 32 == 0) {
    warp_max[threadIdx.x / 32] = online.max;
    warp_sum[threadIdx.x / 32] = online.sum;
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int warp = 1; warp < kWarps; ++warp) online = merged(online, {warp_max[warp], warp_sum[warp]});
  const float log_sum = online.max + logf(online.sum);
  lse[row] = log_sum;
  const int32_t label = labels[row];
  if (label == kIgnoredLabel || label == kForeignLabel) {
    log_prob[row] = 0.0f;
  } else if (label < 0 || label >= shape.classes) {
    log_prob[row] = NAN;  // no such class: the step's loss is not finite and the update is skipped
  } else {
    log_prob[row] = capped(static_cast<float>(row_logits[label]), shape.softcap) - log_sum;
  }
}

template <int N, class T>
__global__ void __launch_bounds__(kThreads)
    cross_entropy_backward_kernel(T* logits, const float* lse, const int32_t* labels, const float* dlog_prob,
                                  const StepState* state, CrossEntropyShape shape) {
  const int64_t row = blockIdx.x;
  const int32_t label = labels[row];
  const bool ignored = label == kIgnoredLabel;
  const float weight = dlog_prob ? dlog_prob[row] : -state->inverse_loss_denominator;
  const float log_sum = lse[row], softcap = shape.softcap;
  T* row_logits = logits + row * shape.stride;
  for (int64_t c = static_cast<int64_t>(threadIdx.x) * N; c < shape.stride; c += kThreads * N) {
    float value[N];
    if (!ignored && c < shape.classes) load(value, row_logits + c);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      if (ignored || c + j >= shape.classes) {
        value[j] = 0.0f;
        continue;
      }
      const float logit = capped(value[j], softcap);
      value[j] = weight * ((c + j == label ? 1.0f : 0.0f) - expf(logit - log_sum));
      if (softcap > 0.0f) value[j] *= 1.0f - (logit / softcap) * (logit / softcap);
    }
    store(row_logits + c, value);
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

}  // namespace nemo::kernels
