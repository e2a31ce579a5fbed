#include "core/data/text_dataset.h"

#include <span>

#include "core/data/uniform_below.h"
#include "core/error.h"
#include "core/exec_context.h"
#include "kernels/base/philox.h"

namespace nemo {

TextDataset::TextDataset(std::shared_ptr<const std::vector<int32_t>> tokens, int64_t begin, int64_t end, int64_t seq_length,
                         uint64_t seed, const std::string& name)
    : tokens_(std::move(tokens)), begin_(begin), end_(end), seq_length_(seq_length), seed_(seed),
      site_(random_site("data.text." + name)) {
  if (end - begin < seq_length + 1) {
    throw DataError{"data.text", name, "its " + std::to_string(end - begin) + " tokens do not fill one sample of " +
                                           std::to_string(seq_length) + " + 1", "a longer text, or a shorter seq_length"};
  }
}

Sample TextDataset::sample(int64_t index) const {
  const auto random = kernels::philox({seed_, site_}, 0, static_cast<uint64_t>(index));
  const uint64_t num_places = static_cast<uint64_t>(end_ - begin_ - seq_length_);
  const int64_t place = begin_ + static_cast<int64_t>(uniform_below(random.x, random.y, num_places));
  return make_sample(std::span(*tokens_).subspan(place, seq_length_ + 1), {});
}

SplitDatasets split_text(std::vector<int32_t> tokens, const SplitRanges& ranges, int64_t seq_length, uint64_t seed) {
  const double size = static_cast<double>(tokens.size());
  if (tokens.empty()) throw DataError{"data.text", "", "the text is empty"};
  const auto shared = std::make_shared<const std::vector<int32_t>>(std::move(tokens));
  SplitDatasets splits;
  for (int i = 0; i < kNumSplits; ++i) {
    if (!ranges[i]) continue;
    splits[i] = std::make_unique<TextDataset>(shared, static_cast<int64_t>(ranges[i]->begin * size),
                                              static_cast<int64_t>(ranges[i]->end * size), seq_length, seed, kSplitNames[i]);
  }
  return splits;
}

}  // namespace nemo
