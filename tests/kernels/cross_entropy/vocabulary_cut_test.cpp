#include "kernels/cross_entropy/vocabulary_cut.h"

#include <algorithm>

#include "kernels/cross_entropy/cross_entropy.h"
#include "tests/kernels/device_array.h"

using namespace nemo;
using namespace nemo::kernels;
using namespace nemo::testing;

namespace {

// The vocabulary in `ranks` slices of `per_rank` columns: statistics and gradients against the uncut formulas in fp64.
template <class T>
void check(const TestDevice& device, int64_t ranks, int64_t per_rank, int64_t num_classes, float softcap) {
  constexpr int64_t kRows = 23;
  CAPTURE(ranks, per_rank, num_classes, softcap, name(dtype_of<T>));
  const auto logits = random_values<T>(kRows * num_classes, 1, 3.0);
  std::vector<int32_t> labels;
  for (int64_t r = 0; r < kRows; ++r)
    labels.push_back(r % 5 == 3 ? kIgnoredLabel : static_cast<int32_t>(r * 7919 % num_classes));
  std::vector<double> log_prob, lse, slope(logits.size()), value(logits.size());
  for (int64_t r = 0; r < kRows; ++r) {
    double sum = 0;
    for (int64_t c = 0; c < num_classes; ++c) {
      const int64_t at = r * num_classes + c;
      const double raw = static_cast<double>(static_cast<float>(logits[at])),
                   t = softcap > 0 ? std::tanh(raw / softcap) : 0;
      value[at] = softcap > 0 ? softcap * t : raw;
      slope[at] = softcap > 0 ? 1 - t * t : 1;
      sum += std::exp(value[at]);
    }
    lse.push_back(std::log(sum));
    log_prob.push_back(labels[r] == kIgnoredLabel ? 0 : value[r * num_classes + labels[r]] - lse.back());
  }

  std::vector<float> parts;
  std::vector<std::vector<T>> slices;
  std::vector<std::vector<int32_t>> own;
  std::vector<CrossEntropyShape> shapes;
  Array<int32_t> labels_in(device, labels);
  for (int64_t rank = 0; rank < ranks; ++rank) {
    const int64_t first = rank * per_rank, here = std::clamp<int64_t>(num_classes - first, 0, per_rank);
    shapes.push_back({kRows, here, per_rank, softcap});
    std::vector<T> slice(kRows * per_rank, static_cast<T>(1e4f));  // padding must take no part
    for (int64_t r = 0; r < kRows; ++r)
      for (int64_t c = 0; c < here; ++c) slice[r * per_rank + c] = logits[r * num_classes + first + c];
    Array<int32_t> own_labels(device, kRows);
    NEMO_LAUNCH(device, own_labels, own_labels.data(), labels_in.data(), kRows, ClassSlice{first, here});
    Array<T> slice_in(device, slice);
    Array<float> part_log_prob(device, kRows), part_lse(device, kRows);
    NEMO_LAUNCH(device, cross_entropy_forward, part_log_prob.data(), part_lse.data(), slice_in.data(),
                own_labels.data(), shapes.back());
    for (const auto& each : {part_log_prob.values(), part_lse.values()})
      parts.insert(parts.end(), each.begin(), each.end());
    own.push_back(own_labels.values());
    slices.push_back(std::move(slice));
  }
  Array<float> parts_in(device, parts), merged_log_prob(device, kRows), merged_lse(device, kRows);
  NEMO_LAUNCH(device, merge_cross_entropy, merged_log_prob.data(), merged_lse.data(), parts_in.data(), labels_in.data(),
              VocabularyCutShape{ranks, kRows, per_rank, num_classes});
  check_close<float>(merged_log_prob.values(), log_prob);
  check_close<float>(merged_lse.values(), lse);

  const auto weights = random_values<float>(kRows, 2);
  Array<float> weights_in(device, weights);
  for (int64_t rank = 0; rank < ranks; ++rank) {
    Array<T> slice_in(device, slices[rank]);
    Array<int32_t> own_in(device, own[rank]);
    NEMO_LAUNCH(device, cross_entropy_backward, slice_in.data(), merged_lse.data(), own_in.data(), weights_in.data(),
                static_cast<const StepState*>(nullptr), shapes[rank]);
    std::vector<double> expected(kRows * per_rank);
    for (int64_t r = 0; r < kRows; ++r)
      for (int64_t c = 0; c < shapes[rank].classes && labels[r] != kIgnoredLabel; ++c) {
        const int64_t at = r * num_classes + rank * per_rank + c;
        expected[r * per_rank + c] = static_cast<double>(weights[r]) *
                                     ((rank * per_rank + c == labels[r]) - std::exp(value[at] - lse[r])) * slope[at];
      }
    check_close<T>(slice_in.values(), expected);
  }
}

void slices(const TestDevice& device) {
  for (const float softcap : {0.0f, 5.0f}) {
    check<float>(device, 2, 48, 96, softcap);
    check<float>(device, 3, 40, 97, softcap);
    check<bf16>(device, 4, 128, 300, softcap);  // the last rank holds padding alone
    check<float>(device, 4, 128, 300, softcap);
  }
}

void labels_that_are_no_class(const TestDevice& device) {
  Array<int32_t> labels(device, std::vector<int32_t>{5, 6, -3, kIgnoredLabel});
  Array<float> parts(device, std::vector<float>(16, -1.0f)), log_prob(device, 4), lse(device, 4);
  NEMO_LAUNCH(device, merge_cross_entropy, log_prob.data(), lse.data(), parts.data(), labels.data(),
              VocabularyCutShape{2, 4, 4, 6});
  const auto values = log_prob.values();
  CHECK(std::isfinite(values[0]));
  CHECK(std::isnan(values[1]));
  CHECK(std::isnan(values[2]));
  CHECK(values[3] == 0.0f);
}

}  // namespace

NEMO_KERNEL_TEST("cross entropy over slices of the vocabulary", "[cross_entropy]", slices)
NEMO_KERNEL_TEST("a label that no slice holds gives NaN", "[cross_entropy]", labels_that_are_no_class)
