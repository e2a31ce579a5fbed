#include "core/data/blended_dataset.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "core/error.h"

namespace nemo {
namespace {

// numpy.sum of contiguous doubles: fewer than 8 one by one, up to 128 in 8 lanes, more in halves that are multiples of 8.
double numpy_sum(std::span<const double> values) {
  if (values.size() < 8) {
    double sum = 0;
    for (const double v : values) sum += v;
    return sum;
  }
  if (values.size() > 128) {
    const size_t half = values.size() / 2 / 8 * 8;
    return numpy_sum(values.first(half)) + numpy_sum(values.subspan(half));
  }
  double lane[8];
  std::copy_n(values.begin(), 8, lane);
  size_t i = 8;
  for (; i + 8 <= values.size(); i += 8) {
    for (size_t j = 0; j < 8; ++j) lane[j] += values[i + j];
  }
  double sum = ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
  for (; i < values.size(); ++i) sum += values[i];
  return sum;
}

}  // namespace

std::vector<double> normalize_weights(std::vector<double> weights) {
  const double sum = numpy_sum(weights);
  for (double& weight : weights) weight /= sum;
  return weights;
}

BlendOrder make_blend_order(const std::vector<double>& weights, int64_t size, std::span<const int64_t> limits) {
  BlendOrder order;
  order.dataset.reserve(size);
  order.dataset_sample.reserve(size);
  std::vector<int64_t> drawn(weights.size());
  for (int64_t i = 0; i < size; ++i) {
    const double position = static_cast<double>(std::max<int64_t>(i, 1));
    size_t furthest = 0;
    double largest = -std::numeric_limits<double>::infinity();
    for (size_t d = 0; d < weights.size(); ++d) {
      const double behind = weights[d] * position - static_cast<double>(drawn[d]);
      if (behind > largest && (limits.empty() || drawn[d] < limits[d])) furthest = d, largest = behind;
    }
    order.dataset.push_back(static_cast<uint16_t>(furthest));
    order.dataset_sample.push_back(drawn[furthest]++);
  }
  return order;
}

BlendedDataset::BlendedDataset(std::vector<std::unique_ptr<Dataset>> datasets, const std::vector<double>& weights,
                               std::optional<int64_t> size, const std::string& subject)
    : datasets_(std::move(datasets)) {
  std::vector<int64_t> available;
  for (const auto& dataset : datasets_) available.push_back(dataset->num_samples());
  const int64_t total = std::accumulate(available.begin(), available.end(), int64_t{0});
  order_ = size ? make_blend_order(normalize_weights(weights), *size)
                : make_blend_order(normalize_weights(weights), total, available);
  for (size_t i = 0; i < order_.dataset.size(); ++i) {
    const uint16_t d = order_.dataset[i];
    if (order_.dataset_sample[i] < available[d]) continue;
    throw DataError{"", subject, "the blend draws more from its data set " + std::to_string(d + 1) + " than the " +
                                     std::to_string(available[d]) + " samples that it has",
                    "fewer samples, or a smaller weight for that set"};
  }
}

}  // namespace nemo
