#include "kernels/cross_entropy/vocabulary_cut.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cross_entropy/cross_entropy.h"

namespace nemo::kernels {

void own_labels_cpu(int32_t* own, const int32_t* labels, int64_t rows, const ClassSlice& slice) {
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t label = labels[r] - slice.first;
    if (labels[r] == kIgnoredLabel) {
      own[r] = kIgnoredLabel;
    } else {
      own[r] = label >= 0 && label < slice.count ? static_cast<int32_t>(label) : kForeignLabel;
    }
  }
}

void merge_cross_entropy_cpu(float* log_prob, float* lse, const float* parts, const int32_t* labels,
                             const VocabularyCutShape& shape) {
  const auto part = [&](int64_t rank, int64_t which, int64_t r) { return parts[(2 * rank + which) * shape.rows + r]; };
  for (int64_t r = 0; r < shape.rows; ++r) {
    float largest = part(0, 1, r);
    for (int64_t i = 1; i < shape.ranks; ++i) largest = std::max(largest, part(i, 1, r));
    float sum = 0;
    for (int64_t i = 0; i < shape.ranks; ++i) sum += std::exp(part(i, 1, r) - largest);
    lse[r] = largest + std::log(sum);
    if (labels[r] == kIgnoredLabel) {
      log_prob[r] = 0;
    } else if (labels[r] < 0 || labels[r] >= shape.num_classes) {
      log_prob[r] = std::numeric_limits<float>::quiet_NaN();
    } else {
      const int64_t owner = labels[r] / shape.classes_per_rank;
      log_prob[r] = part(owner, 0, r) + (part(owner, 1, r) - lse[r]);
    }
  }
}

}  // namespace nemo::kernels
