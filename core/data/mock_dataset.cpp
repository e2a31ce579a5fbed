#include "core/data/mock_dataset.h"

#include "core/data/uniform_below.h"
#include "kernels/base/philox.h"

namespace nemo {

Sample MockDataset::sample(int64_t index) const {
  const auto draw = [&](int64_t position) {  // the sample's number is Philox's step, the place in it the counter
    const auto random = kernels::philox({seed_, site_}, static_cast<uint64_t>(index), static_cast<uint64_t>(position));
    return static_cast<int32_t>(uniform_below(random.x, random.y, static_cast<uint64_t>(vocab_size_)));
  };
  std::vector<int32_t> text(seq_length_ + 1);
  const int64_t size = seq_length_ + 1, half = (size + 1) / 2;
  const int64_t start = pattern_ == MockPattern::arange ? draw(0) : 0;
  for (int64_t i = 0; i < size; ++i) {
    switch (pattern_) {
      case MockPattern::random: text[i] = draw(i); break;
      case MockPattern::arange: text[i] = static_cast<int32_t>((start + i) % vocab_size_); break;
      case MockPattern::copy: text[i] = i < half ? draw(i) : text[i - half]; break;
    }
  }
  return make_sample(text, {});
}

}  // namespace nemo
