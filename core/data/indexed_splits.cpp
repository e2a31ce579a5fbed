#include "core/data/indexed_splits.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/data/blended_dataset.h"
#include "core/data/gpt_dataset.h"
#include "core/error.h"

namespace nemo {
namespace {

constexpr const char* kSplitNames[kNumSplits] = {"train split", "validation split", "test split"};

// Sets of a blend are built this much larger than their share, since the greedy order may overdraw one a little.
constexpr double kBlendSurplus = 0.005;

std::string_view trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\n") - begin + 1);
}

std::optional<double> parse_number(std::string_view text) {
  double value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

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
  for (size_t i = 0; weighted && i < entries.size(); i += 2) weighted = parse_number(trim(entries[i])).has_value();
  for (size_t i = 0; i < entries.size(); ++i) {
    if (!weighted || i % 2 == 1) {
      blend.prefixes.emplace_back(trim(entries[i]));
      continue;
    }
    const double weight = *parse_number(trim(entries[i]));
    if (!(weight > 0) || !std::isfinite(weight)) {
      throw DataError{"", "data.blend", "weight " + entries[i] + " of " + entries[i + 1] + " is not positive"};
    }
    blend.weights.push_back(weight);
  }
  return blend;
}

SplitRanges parse_split(const std::string& split) {
  std::vector<double> shares;
  for (size_t at = 0; at <= split.size();) {
    const size_t comma = std::min(split.find_first_of(",/", at), split.size());
    const std::optional<double> share = parse_number(trim(std::string_view(split).substr(at, comma - at)));
    if (!share || !(*share >= 0) || !std::isfinite(*share)) shares.resize(kNumSplits + 1);  // refused below
    if (shares.size() > kNumSplits) break;
    shares.push_back(*share);
    at = comma + 1;
  }
  shares.resize(shares.size() > kNumSplits ? shares.size() : kNumSplits);
  if (shares.size() > kNumSplits || shares[0] + shares[1] + shares[2] == 0) {
    throw DataError{"", "data.split", "\"" + split + "\" is not up to three shares, of which one is over 0", "\"9999,8,2\""};
  }
  shares = normalize_weights(shares);
  SplitRanges ranges;
  double begin = 0;
  for (int i = 0; i < kNumSplits; ++i) {
    const double end = begin + shares[i];
    if (end > begin) ranges[i] = SplitRange{begin, end};
    begin = end;
  }
  return ranges;
}

std::array<std::unique_ptr<Dataset>, kNumSplits> build_indexed_splits(const IndexedDataRequest& request) {
  const SplitRanges ranges = parse_split(request.split);
  if (request.blend.prefixes.empty()) throw DataError{"", "data.blend", "names no data", "data.blend=[PREFIX]"};
  std::vector<std::shared_ptr<const IndexedDataset>> sets;
  for (const auto& prefix : request.blend.prefixes) sets.push_back(std::make_shared<IndexedDataset>(prefix));

  std::array<std::unique_ptr<Dataset>, kNumSplits> splits;
  const bool single = sets.size() == 1 && request.blend.weights.empty();
  for (int i = 0; i < kNumSplits; ++i) {
    if (request.num_samples[i] == 0) continue;
    splits[i] = single ? build_split(request, sets.front(), ranges[i], request.num_samples[i], i)
                       : build_blended_split(request, sets, ranges[i], i);
  }
  return splits;
}

}  // namespace nemo
