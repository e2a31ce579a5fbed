// The train, validation and test sets of a `data.blend`: who gets which documents, and how many samples of each.
// Upstream: megatron/core/datasets/blended_megatron_dataset_builder.py. Text files and mock data: text_dataset.h, mock_dataset.h.
#pragma once
#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/data/dataset.h"
#include "core/data/split.h"

namespace nemo {

struct Blend {
  std::vector<std::filesystem::path> prefixes;
  std::vector<double> weights;  // empty: in proportion to the sets' sizes
};

// ["p", ...] or ["0.3", "p", "0.7", "q"], as in Megatron's --data-path. Throws DataError for a weight that is not positive.
Blend parse_blend(const std::vector<std::string>& entries);

struct IndexedDataRequest {
  Blend blend = {};
  std::string split = {};
  int64_t seq_length = 0;
  uint32_t seed = 1234;
  // Per split: samples wanted; 0: the split is not built; none: what one epoch gives.
  std::array<std::optional<int64_t>, kNumSplits> num_samples{0, 0, 0};
  DocumentMasking masking = {};
};

// Null where num_samples is 0. Throws DataError: files missing or corrupt, a split that gets no document, too few tokens.
SplitDatasets build_indexed_splits(const IndexedDataRequest& request);

}  // namespace nemo
