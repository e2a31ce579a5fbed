#include "core/data/blended_dataset.h"

#include <catch2/catch.hpp>

#include "core/data/mock_dataset.h"
#include "core/error.h"

namespace nemo {
namespace {

class CountedDataset : public MockDataset {
 public:
  explicit CountedDataset(int64_t count) : MockDataset(MockPattern::random, 10, 4, 1, 2), count_(count) {}
  int64_t num_samples() const override { return count_; }

 private:
  int64_t count_;
};

std::vector<std::unique_ptr<Dataset>> two_sets(int64_t first, int64_t second) {
  std::vector<std::unique_ptr<Dataset>> sets;
  sets.push_back(std::make_unique<CountedDataset>(first));
  sets.push_back(std::make_unique<CountedDataset>(second));
  return sets;
}

}  // namespace

TEST_CASE("a blend draws from the set furthest behind", "[data]") {
  const BlendOrder order = make_blend_order({0.5, 0.25, 0.25}, 8);
  CHECK((order.dataset == std::vector<uint16_t>{0, 1, 2, 0, 0, 1, 2, 0}));
  CHECK((order.dataset_sample == std::vector<int64_t>{0, 0, 0, 1, 2, 1, 1, 3}));
}

TEST_CASE("weights are summed as numpy sums", "[data]") {
  std::vector<double> weights(300);
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = 1.0 / static_cast<double>(i + 1);
  // What numpy gives; adding one by one ends in other bits at both lengths.
  CHECK(normalize_weights(weights)[0] == 0.1591681520852471);
  weights.resize(50);
  CHECK(normalize_weights(weights)[0] == 0.22226147170497995);
}

TEST_CASE("a blend never draws more than there is", "[data]") {
  CHECK(BlendedDataset(two_sets(5, 5), {1, 1}, 10, "train split").num_samples() == 10);
  CHECK_THROWS_MATCHES(BlendedDataset(two_sets(5, 4), {1, 1}, 10, "train split"), DataError,
                       Catch::Matchers::Message("train split: the blend draws more from its data set 2 than the 4 samples that it "
                                                "has; try: fewer samples, or a smaller weight for that set"));
  CHECK(BlendedDataset(two_sets(1, 9), {1, 9}, std::nullopt, "train split").num_samples() == 10);
}

}  // namespace nemo
