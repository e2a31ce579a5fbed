// Samples of one split of one indexed set, in Megatron's order. Mixing several sets: blended_dataset.h.
#pragma once
#include <memory>
#include <string>

#include "core/data/dataset.h"
#include "core/data/indexed_dataset.h"
#include "core/data/sample_order.h"

namespace nemo {

class GptDataset : public Dataset {
 public:
  // subject names the split in errors ("train split"). Throws DataError as make_sample_order does.
  GptDataset(std::shared_ptr<const IndexedDataset> data, const SampleOrderRequest& request, const DocumentMasking& masking,
             const std::string& subject);

  int64_t num_samples() const override { return static_cast<int64_t>(order_.shuffle_index.size()); }
  int64_t seq_length() const override { return seq_length_; }
  Sample sample(int64_t index) const override;

  const SampleOrder& order() const { return order_; }

 private:
  std::shared_ptr<const IndexedDataset> data_;
  int64_t seq_length_;
  DocumentMasking masking_;
  SampleOrder order_;
};

}  // namespace nemo
