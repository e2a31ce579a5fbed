#include "core/data/dataset.h"

#include <numeric>

namespace nemo {

Sample make_sample(std::span<const int32_t> text, const DocumentMasking& masking) {
  const auto inputs = text.first(text.size() - 1), targets = text.last(text.size() - 1);
  Sample sample{{inputs.begin(), inputs.end()}, {targets.begin(), targets.end()}, std::vector<int32_t>(inputs.size()), {0}};
  std::iota(sample.positions.begin(), sample.positions.end(), 0);
  if (!masking.end_of_document) return sample;

  int32_t position = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (masking.reset_positions) sample.positions[i] = position++;
    if (inputs[i] != *masking.end_of_document) continue;
    if (masking.mask_loss) sample.labels[i] = kIgnoredLabel;
    position = 0;
    if (masking.separate_documents && i + 1 < inputs.size()) sample.segment_starts.push_back(static_cast<int32_t>(i + 1));
  }
  return sample;
}

}  // namespace nemo
