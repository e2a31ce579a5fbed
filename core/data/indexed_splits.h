// The train, validation and test sets of a `data.blend`: who gets which documents, and how many samples of each.
// Upstream: megatron/core/datasets/blended_megatron_dataset_builder.py. Text files and mock data: text_dataset.h, mock_dataset.h.
#pragma once
#include <array>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/data/dataset.h"

namespace nemo {

enum class Split { train = 0, validation = 1, test = 2 };
inline constexpr int kNumSplits = 3;

struct Blend {
  std::vector<std::filesystem::path> prefixes;
  std::vector<double> weights;  // empty: in proportion to the sets' sizes
};

// ["p", ...] or ["0.3", "p", "0.7", "q"], as in Megatron's --data-path. Throws DataError for a weight that is not positive.
Blend parse_blend(const std::vector<std::string>& entries);

// Where a split lies, as fractions of the documents; none for a share of 0.
struct SplitRange { double begin, end; };
using SplitRanges = std::array<std::optional<SplitRange>, kNumSplits>;

// "9999,8,2": shares of train, validation and test, in any unit. Throws DataError for anything else.
SplitRanges parse_split(const std::string& split);

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
std::array<std::unique_ptr<Dataset>, kNumSplits> build_indexed_splits(const IndexedDataRequest& request);

}  // namespace nemo
