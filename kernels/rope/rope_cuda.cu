#include <algorithm>

#include "kernels/base/cuda_check.h"
#include "kernels/base/pack.cuh"
#include "kernels/rope/rope.h"

namespace nemo::kernels {
namespace {

constexpr int kMaxThreads = 256;

// One block a token; its threads walk the heads of q, then of k, by steps of N pairs. The half of a head that holds `a` lies
// rotary_size/2 before the one that holds `b`.
template <int N, class T>
__global__ void __launch_bounds__(kMaxThreads)
    rope_kernel(T* q, T* k, const int32_t* positions, const float* cos, const float* sin, RopeShape shape) {
  const int half = static_cast<int>(shape.rotary_size / 2), steps = half / N;
  const int q_heads = static_cast<int>(shape.q_heads), items = static_cast<int>(shape.q_heads + shape.k_heads) * steps;
  const int64_t token = blockIdx.x, table = static_cast<int64_t>(positions[token]) * half;
  for (int item = threadIdx.x; item < items; item += blockDim.x) {
    const int head = item / steps, pair = (item - head * steps) * N;
    T* const first = (head < q_heads ? q + token * shape.q_stride + head * shape.head_size
                                     : k + token * shape.k_stride + (head - q_heads) * shape.head_size) + pair;
    float a[N], b[N], c[N], s[N];
    load(a, first);
    load(b, first + half);
    load(c, cos + table + pair);
    load(s, sin + table + pair);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const float sine = shape.inverse ? -s[j] : s[j], before = a[j];
      a[j] = before * c[j] - b[j] * sine;
      b[j] = b[j] * c[j] + before * sine;
    }
    store(first, a);
    store(first + half, b);
  }
}

}  // namespace

template <class T>
void rope_cuda(T* q, T* k, const int32_t* positions, const float* cos, const float* sin, const RopeShape& shape, cudaStream_t stream) {
  const int64_t half = shape.rotary_size / 2, heads = shape.q_heads + shape.k_heads;
  if (shape.tokens == 0 || heads == 0 || half == 0) return;
  const bool aligned = pack_aligned(q) && pack_aligned(k) && pack_aligned(cos) && pack_aligned(sin) && pack_stride(half) &&
                       pack_stride(shape.head_size) && pack_stride(shape.q_stride) && pack_stride(shape.k_stride);
  const int64_t items = heads * (aligned ? half / kPackSize : half);
  const unsigned threads = static_cast<unsigned>(std::min<int64_t>(kMaxThreads, (items + 31) / 32 * 32));
  const unsigned blocks = static_cast<unsigned>(shape.tokens);
  if (aligned) {
    rope_kernel<kPackSize><<<blocks, threads, 0, stream>>>(q, k, positions, cos, sin, shape);
  } else {
    rope_kernel<1><<<blocks, threads, 0, stream>>>(q, k, positions, cos, sin, shape);
  }
  check_launch("rope");
}

template void rope_cuda(float*, float*, const int32_t*, const float*, const float*, const RopeShape&, cudaStream_t);
template void rope_cuda(bf16*, bf16*, const int32_t*, const float*, const float*, const RopeShape&, cudaStream_t);

}  // namespace nemo::kernels
