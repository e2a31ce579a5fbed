#include "kernels/attention/attention_merge.h"
#include "kernels/base/cuda_check.h"

namespace nemo::kernels {
namespace {

constexpr int kWarps = 8;

// One warp for each (token, head): its lanes share the head's elements, and the first writes the sum's logarithm.
template <class T>
__global__ void __launch_bounds__(kWarps * 32)
    attention_merge_kernel(float* out, float* lse, const T* part, const float* part_lse, AttentionMergeShape shape) {
  const int64_t item = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (item >= shape.tokens * shape.num_heads) return;
  const int64_t token = item / shape.num_heads, head = item % shape.num_heads, at = head * shape.tokens + token;
  const float ours = lse[at], theirs = part_lse[at];
  if (theirs == -INFINITY) return;
  const float largest = fmaxf(ours, theirs), merged = largest + logf(expf(ours - largest) + expf(theirs - largest));
  const float keep = expf(ours - merged), add = expf(theirs - merged);
  for (int64_t d = threadIdx.x % 32; d < shape.head_size; d += 32) {
    const int64_t i = item * shape.head_size + d;
    out[i] = (keep == 0.0f ? 0.0f : out[i] * keep) + static_cast<float>(part[i]) * add;
  }
  __syncwarp();  // all lanes have read the old value
  if (threadIdx.x % 32 == 0) lse[at] = merged;
}

}  // namespace

template <class T>
void attention_merge_cuda(float* out, float* lse, const T* part, const float* part_lse,
                          const AttentionMergeShape& shape, cudaStream_t stream) {
  const int64_t items = shape.tokens * shape.num_heads;
  if (items == 0) return;
  attention_merge_kernel<<<static_cast<unsigned>((items + kWarps - 1) / kWarps), kWarps * 32, 0, stream>>>(
      out, lse, part, part_lse, shape);
  check_launch("attention_merge");
}

template void attention_merge_cuda(float*, float*, const float*, const float*, const AttentionMergeShape&,
                                   cudaStream_t);
template void attention_merge_cuda(float*, float*, const bf16*, const float*, const AttentionMergeShape&, cudaStream_t);

}  // namespace nemo::kernels
