#include "kernels/base/cuda_check.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/cross_entropy/vocabulary_cut.h"

namespace nemo::kernels {
namespace {

constexpr int kThreads = 256;

unsigned blocks_for(int64_t rows) {
  return static_cast<unsigned>((rows + kThreads - 1) / kThreads);
}

__global__ void own_labels_kernel(int32_t* own, const int32_t* labels, int64_t rows, ClassSlice slice) {
  const int64_t r = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (r >= rows) return;
  const int64_t label = labels[r] - slice.first;
  own[r] = labels[r] == kIgnoredLabel          ? kIgnoredLabel
           : label >= 0 && label < slice.count ? static_cast<int32_t>(label)
                                               : kForeignLabel;
}

__global__ void merge_cross_entropy_kernel(float* log_prob, float* lse, const float* parts, const int32_t* labels,
                                           VocabularyCutShape shape) {
  const int64_t r = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (r >= shape.rows) return;
  float largest = parts[shape.rows + r];
  for (int64_t i = 1; i < shape.ranks; ++i) largest = fmaxf(largest, parts[(2 * i + 1) * shape.rows + r]);
  float sum = 0.0f;
  for (int64_t i = 0; i < shape.ranks; ++i) sum += expf(parts[(2 * i + 1) * shape.rows + r] - largest);
  const float log_sum = largest + logf(sum);
  const int32_t label = labels[r];
  lse[r] = log_sum;
  if (label == kIgnoredLabel) {
    log_prob[r] = 0.0f;
  } else if (label < 0 || label >= shape.num_classes) {
    log_prob[r] = NAN;
  } else {
    const int64_t owner = label / shape.classes_per_rank;
    log_prob[r] = parts[2 * owner * shape.rows + r] + (parts[(2 * owner + 1) * shape.rows + r] - log_sum);
  }
}

}  // namespace

void own_labels_cuda(int32_t* own, const int32_t* labels, int64_t rows, const ClassSlice& slice, cudaStream_t stream) {
  if (rows == 0) return;
  own_labels_kernel<<<blocks_for(rows), kThreads, 0, stream>>>(own, labels, rows, slice);
  check_launch("own_labels");
}

void merge_cross_entropy_cuda(float* log_prob, float* lse, const float* parts, const int32_t* labels,
                              const VocabularyCutShape& shape, cudaStream_t stream) {
  if (shape.rows == 0) return;
  merge_cross_entropy_kernel<<<blocks_for(shape.rows), kThreads, 0, stream>>>(log_prob, lse, parts, labels, shape);
  check_launch("merge_cross_entropy");
}

}  // namespace nemo::kernels
