// Made-up samples, for speed runs and tests: no file is read.
#pragma once
#include "core/data/config.h"
#include "core/data/dataset.h"

namespace nemo {

// Sample i depends on (seed, split's site, i) and the sizes alone.
class MockDataset : public Dataset {
 public:
  // site tells the splits apart (random_site in core/exec_context.h). vocab_size at least 1.
  MockDataset(MockPattern pattern, int64_t vocab_size, int64_t seq_length, uint64_t seed, uint64_t site)
      : pattern_(pattern), vocab_size_(vocab_size), seq_length_(seq_length), seed_(seed), site_(site) {}

  int64_t num_samples() const override { return kUnboundedSamples; }
  int64_t seq_length() const override { return seq_length_; }
  Sample sample(int64_t index) const override;

 private:
  MockPattern pattern_;
  int64_t vocab_size_, seq_length_;
  uint64_t seed_, site_;
};

}  // namespace nemo
