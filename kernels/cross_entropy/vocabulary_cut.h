// Softmax cross entropy over a vocabulary whose classes lie over several ranks: what happens before and after the ranks
// exchange their statistics. Not here: each rank's own pass (cross_entropy.h), the exchange.
#pragma once
#include <cstdint>

#include "kernels/base/cuda_stream.h"

namespace nemo::kernels {

// own[r] = labels[r] - first where that lies in [0, count), else kForeignLabel; kIgnoredLabel stays.
struct ClassSlice {
  int64_t first, count;
};
void own_labels_cpu(int32_t* own, const int32_t* labels, int64_t rows, const ClassSlice& slice);
NEMO_CUDA_KERNEL void own_labels_cuda(int32_t* own, const int32_t* labels, int64_t rows, const ClassSlice& slice,
                                      cudaStream_t stream);

// parts [ranks, 2, rows] fp32: each rank's log_prob and lse from its own pass over own_labels. Rank i holds the classes
// [i * classes_per_rank, (i + 1) * classes_per_rank) of which those below num_classes count; a rank may hold none (lse
// -inf).
//   lse[r] = log sum_i exp(parts[i, 1, r]),  log_prob[r] = the label's owner's log_prob + (its lse - lse[r])
// 0 where the label is ignored, NaN where it is no class.
struct VocabularyCutShape {
  int64_t ranks, rows, classes_per_rank, num_classes;
};
void merge_cross_entropy_cpu(float* log_prob, float* lse, const float* parts, const int32_t* labels,
                             const VocabularyCutShape& shape);
NEMO_CUDA_KERNEL void merge_cross_entropy_cuda(float* log_prob, float* lse, const float* parts, const int32_t* labels,
                                               const VocabularyCutShape& shape, cudaStream_t stream);

}  // namespace nemo::kernels
