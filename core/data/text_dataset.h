// A text kept in memory as one run of tokens, cut into consecutive splits, samples at random places of a split.
// Documents, epochs and blends belong to indexed data (indexed_splits.h).
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/data/dataset.h"
#include "core/data/split.h"

namespace nemo {

// Sample i is seq_length + 1 tokens from a place drawn by (seed, name, i): there is no last sample.
class TextDataset : public Dataset {
 public:
  // Samples lie in tokens[begin, end). name: of the split; also named in the DataError when the text is too short.
  TextDataset(std::shared_ptr<const std::vector<int32_t>> tokens, int64_t begin, int64_t end, int64_t seq_length,
              uint64_t seed, const std::string& name);

  int64_t num_samples() const override { return kUnboundedSamples; }
  int64_t seq_length() const override { return seq_length_; }
  Sample sample(int64_t index) const override;

 private:
  std::shared_ptr<const std::vector<int32_t>> tokens_;
  int64_t begin_, end_, seq_length_;
  uint64_t seed_, site_;
};

// Consecutive parts of the tokens in the given shares (a split begins at the whole part of its fraction of them). Null for a
// split without a share; throws DataError for one that is too short.
SplitDatasets split_text(std::vector<int32_t> tokens, const SplitRanges& ranges, int64_t seq_length, uint64_t seed);

}  // namespace nemo
