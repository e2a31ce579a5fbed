#include "core/data/gpt_dataset.h"

#include <algorithm>

namespace nemo {

GptDataset::GptDataset(std::shared_ptr<const IndexedDataset> data, const SampleOrderRequest& request,
                       const DocumentMasking& masking, const std::string& subject)
    : data_(std::move(data)),
      seq_length_(request.seq_length),
      masking_(masking),
      order_(make_sample_order(data_->lengths(), request, data_->prefix().string(), subject)) {}

Sample GptDataset::sample(int64_t index) const {
  const uint32_t shuffled = order_.shuffle_index[index];
  uint32_t document = order_.starts_document[shuffled];
  int64_t offset = order_.starts_offset[shuffled];
  std::vector<int32_t> text(seq_length_ + 1);
  for (std::span<int32_t> rest(text); !rest.empty(); ++document, offset = 0) {
    const int32_t sequence = order_.document_index[document];
    const int64_t count = std::min<int64_t>(data_->lengths()[sequence] - offset, static_cast<int64_t>(rest.size()));
    data_->read(sequence, offset, rest.first(count));
    rest = rest.subspan(count);
  }
  return make_sample(text, masking_);
}

}  // namespace nemo
