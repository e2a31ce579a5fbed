#include "core/data/indexed_splits.h"

#include <algorithm>
#include <cmath>

#include "core/data/blended_dataset.h"
#include "core/data/gpt_dataset.h"
#include "core/error.h"

namespace nemo {
namespace {

// Sets of a blend are built this much larger than their share, since the greedy order may overdraw one a little.
constexpr double kBlendSurplus = 0.005;

std::unique_ptr<Dataset> build_split(const IndexedDataRequest& request, const std::shared_ptr<const IndexedDataset>& data,
                                     const std::optional<SplitRange>& range, std::optional<int64_t> num_samples, int split) {
  SampleOrderRequest order{.num_samples = num_samples, .seq_length = request.seq_length, .seed = request.seed};
  if (range) {  // nearbyint: halves go to the even neighbour, as in Python
    const double num_sequences = static_cast<double>(data->num_sequences());
    order.first_sequence = static_cast<int64_t>(std::nearbyint(range->begin * num_sequences));
    order.end_sequence = static_cast<int64_t>(std::nearbyint(range->end * num_sequences));
  }
  return std::make_unique<GptDataset>(data, order, request.masking, kSplitNames[split]);
}

std::unique_ptr<Dataset> build_blended_split(const IndexedDataRequest& request,
                                             const std::vector<std::shared_ptr<const IndexedDataset>>& sets,
                                             const std::optional<SplitRange>& range, int split) {
  const std::optional<int64_t> wanted = request.num_samples[split];
  const bool weighted = !request.blend.weights.empty();
  std::vector<double> weights = normalize_weights(request.blend.weights);
  if (weighted && !wanted) {
    throw DataError{"data.blend", kSplitNames[split], "a blend with weights needs a number of samples"};
  }
  std::vector<std::unique_ptr<Dataset>> datasets;
  int64_t total = 0;
  for (size_t d = 0; d < sets.size(); ++d) {
    std::optional<int64_t> built;
    if (weighted) {
      const double share = std::ceil(static_cast<double>(*wanted) * weights[d]);
      total += static_cast<int64_t>(share);
      built = static_cast<int64_t>(std::ceil(share * (1 + kBlendSurplus)));
    }
    datasets.push_back(build_split(request, sets[d], range, built, split));
  }
  if (!weighted) {
    for (const auto& dataset : datasets) {
      weights.push_back(static_cast<double>(dataset->num_samples()));
      total += dataset->num_samples();
    }
  }
  std::optional<int64_t> size = total;  // with weights a little over what is wanted: each set's share is rounded up
  if (!weighted) size = wanted ? std::optional(std::min(total, *wanted)) : std::nullopt;
  return std::make_unique<BlendedDataset>(std::move(datasets), weights, size, kSplitNames[split]);
}

}  // namespace

Blend parse_blend(const std::vector<std::string>& entries) {
  Blend blend;
  bool weighted = !entries.empty() && entries.size() % 2 == 0;
  for (size_t i = 0; weighted && i < entries.size(); i += 2) weighted = parse_share(entries[i]).has_value();
  for (size_t i = 0; i < entries.size(); ++i) {
    if (!weighted || i % 2 == 1) {
      blend.prefixes.emplace_back(entries[i]);
      continue;
    }
    const double weight = *parse_share(entries[i]);
    if (!(weight > 0) || !std::isfinite(weight)) {
      throw DataError{"", "data.blend", "weight " + entries[i] + " of " + entries[i + 1] + " is not positive"};
    }
    blend.weights.push_back(weight);
  }
  return blend;
}

SplitDatasets build_indexed_splits(const IndexedDataRequest& request) {
  const SplitRanges ranges = parse_split(request.split);
  if (request.blend.prefixes.empty()) throw DataError{"", "data.blend", "names no data", "data.blend=[PREFIX]"};
  const DocumentMasking& masking = request.masking;
  if (!masking.end_of_document && (masking.mask_loss || masking.reset_positions || masking.separate_documents)) {
    throw DataError{"", "data", "eod_mask_loss, reset_position_ids and reset_attention_mask need to know the token that ends a document",
                    "a tokenizer that has one"};
  }
  std::vector<std::shared_ptr<const IndexedDataset>> sets;
  for (const auto& prefix : request.blend.prefixes) sets.push_back(std::make_shared<IndexedDataset>(prefix));

  SplitDatasets splits;
  const bool single = sets.size() == 1 && request.blend.weights.empty();
  for (int i = 0; i < kNumSplits; ++i) {
    if (request.num_samples[i] == 0) continue;
    splits[i] = single ? build_split(request, sets.front(), ranges[i], request.num_samples[i], i)
                       : build_blended_split(request, sets, ranges[i], i);
  }
  return splits;
}

}  // namespace nemo
