// Samples drawn from several sets by weight, in Megatron's order (upstream: megatron/core/datasets/blended_dataset.py).
// What each set holds is not looked at here.
#pragma once
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/data/dataset.h"

namespace nemo {

// weights / their sum, summed in numpy's order: the order decides the last bit, and that bit can decide a draw.
std::vector<double> normalize_weights(std::vector<double> weights);

// Draw i comes from the set whose count so far is furthest behind weight * max(i, 1); of equals the first. With limits,
// a set that has given so many samples is left out from then on.
struct BlendOrder {
  std::vector<uint16_t> dataset;        // [size]
  std::vector<int64_t> dataset_sample;  // [size], counting up within each set
};
BlendOrder make_blend_order(const std::vector<double>& normalized_weights, int64_t size, std::span<const int64_t> limits = {});

class BlendedDataset : public Dataset {
 public:
  // size none: every sample of every set once. Throws DataError when the order asks more of a set than it has. subject
  // names the split in errors.
  BlendedDataset(std::vector<std::unique_ptr<Dataset>> datasets, const std::vector<double>& weights,
                 std::optional<int64_t> size, const std::string& subject);

  int64_t num_samples() const override { return static_cast<int64_t>(order_.dataset.size()); }
  int64_t seq_length() const override { return datasets_.front()->seq_length(); }
  Sample sample(int64_t index) const override {
    return datasets_[order_.dataset[index]]->sample(order_.dataset_sample[index]);
  }

  const BlendOrder& order() const { return order_; }

 private:
  std::vector<std::unique_ptr<Dataset>> datasets_;
  BlendOrder order_;
};

}  // namespace nemo
