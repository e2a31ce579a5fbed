// A text kept in memory as one run of tokens: its first part to train on, its last to validate with, samples at random
// places. Documents, epochs and blends belong to indexed data (indexed_splits.h).
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/data/dataset.h"

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

struct TextSplits { std::unique_ptr<Dataset> train, validation; };

// The first 90 % of the tokens to train on, the rest to validate with.
TextSplits split_text(std::vector<int32_t> tokens, int64_t seq_length, uint64_t seed);

}  // namespace nemo
