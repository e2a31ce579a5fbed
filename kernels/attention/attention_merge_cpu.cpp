#include "kernels/attention/attention_merge.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/parallel_for.h"

namespace nemo::kernels {

template <class T>
void attention_merge_cpu(float* out, float* lse, const T* part, const float* part_lse,
                         const AttentionMergeShape& shape) {
  parallel_for(shape.tokens, 64, [&](int64_t begin, int64_t end) {
    for (int64_t token = begin; token < end; ++token) {
      for (int64_t head = 0; head < shape.num_heads; ++head) {
        float& ours = lse[head * shape.tokens + token];
        const float theirs = part_lse[head * shape.tokens + token];
        if (theirs == -INFINITY) continue;
        const float largest = std::max(ours, theirs);
        const float merged = largest + std::log(std::exp(ours - largest) + std::exp(theirs - largest));
        const float keep = std::exp(ours - merged), add = std::exp(theirs - merged);
        const int64_t at = (token * shape.num_heads + head) * shape.head_size;
        for (int64_t d = 0; d < shape.head_size; ++d)
          out[at + d] = (keep == 0.0f ? 0.0f : out[at + d] * keep) + static_cast<float>(part[at + d]) * add;
        ours = merged;
      }
    }
  });
}

template void attention_merge_cpu(float*, float*, const float*, const float*, const AttentionMergeShape&);
template void attention_merge_cpu(float*, float*, const bf16*, const float*, const AttentionMergeShape&);

}  // namespace nemo::kernels
