#include "core/data/data_loader.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "core/data/mock_dataset.h"
#include "core/error.h"

namespace nemo {
namespace {

// Sample i is i, i, ..., with a second segment and an ignored label at place i % S.
class NumberedDataset : public Dataset {
 public:
  explicit NumberedDataset(int64_t num_samples) : num_samples_(num_samples) {}
  int64_t num_samples() const override { return num_samples_; }
  int64_t seq_length() const override { return 4; }
  Sample sample(int64_t index) const override {
    if (index == broken) throw DataError{"set", "sample", "broken"};
    Sample sample = make_sample(std::vector<int32_t>(5, static_cast<int32_t>(index)), {});
    sample.labels[index % 4] = kIgnoredLabel;
    if (index % 4 > 0) sample.segment_starts.push_back(static_cast<int32_t>(index % 4));
    return sample;
  }
  int64_t broken = -1;

 private:
  int64_t num_samples_;
};

std::vector<int64_t> all_samples(DataLoader& loader) {
  std::vector<int64_t> numbers;
  while (const auto batch = loader.next()) numbers.insert(numbers.end(), batch->sample_numbers.begin(), batch->sample_numbers.end());
  return numbers;
}

}  // namespace

TEST_CASE("a micro-batch holds its samples one after the other", "[data]") {
  DataLoader loader(std::make_shared<NumberedDataset>(100), {.micro_batch_size = 3, .consumed_samples = 5});
  const auto batch = loader.next();
  REQUIRE(batch);
  CHECK(batch->micro_batch_size == 3);
  CHECK(batch->seq_length == 4);
  CHECK((batch->tokens == std::vector<int32_t>{5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7}));
  CHECK((batch->labels == std::vector<int32_t>{5, -100, 5, 5, 6, 6, -100, 6, 7, 7, 7, -100}));
  CHECK((batch->positions == std::vector<int32_t>{0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3}));
  CHECK((batch->segment_offsets == std::vector<int32_t>{0, 1, 4, 6, 8, 11, 12}));
  CHECK((batch->sample_numbers == std::vector<int64_t>{5, 6, 7}));
  CHECK(batch->num_loss_tokens == 9);
}

TEST_CASE("shards share the samples out", "[data]") {
  const auto dataset = std::make_shared<NumberedDataset>(27);
  std::vector<int64_t> together;
  for (int64_t shard = 0; shard < 3; ++shard) {
    DataLoader loader(dataset, {.micro_batch_size = 2, .shard_index = shard, .num_shards = 3});
    const auto numbers = all_samples(loader);
    CHECK(numbers[0] == 2 * shard);
    CHECK(loader.consumed_samples() == 24);  // 27 do not make another round of 6
    CHECK_FALSE(loader.next());
    together.insert(together.end(), numbers.begin(), numbers.end());
  }
  std::sort(together.begin(), together.end());
  REQUIRE(together.size() == 24);
  for (int64_t i = 0; i < 24; ++i) CHECK(together[i] == i);
}

TEST_CASE("a loader goes on where another stopped", "[data]") {
  const auto dataset = std::make_shared<NumberedDataset>(40);
  DataLoader whole(dataset, {.micro_batch_size = 4});
  const auto expected = all_samples(whole);
  for (int64_t num_before : {0, 1, 5, 10}) {
    DataLoader first(dataset, {.micro_batch_size = 4, .num_prefetched = 7});
    std::vector<int64_t> numbers;
    for (int64_t i = 0; i < num_before; ++i) {
      const auto batch = first.next();
      numbers.insert(numbers.end(), batch->sample_numbers.begin(), batch->sample_numbers.end());
    }
    DataLoader second(dataset, {.micro_batch_size = 4, .consumed_samples = first.consumed_samples()});
    const auto rest = all_samples(second);
    numbers.insert(numbers.end(), rest.begin(), rest.end());
    CHECK(numbers == expected);
  }
}

TEST_CASE("what goes wrong while reading ahead comes out in its turn", "[data]") {
  auto dataset = std::make_shared<NumberedDataset>(10);
  dataset->broken = 2;
  DataLoader loader(dataset, {});
  CHECK(loader.next());
  CHECK(loader.next());
  for (int again = 0; again < 2; ++again) CHECK_THROWS_MATCHES(loader.next(), DataError, Catch::Matchers::Message("set: sample: broken"));
  CHECK(loader.consumed_samples() == 2);
}

TEST_CASE("ids outside the model's vocabulary are refused", "[data]") {
  DataLoader fits(std::make_shared<NumberedDataset>(3), {.vocab_size = 3});
  CHECK(all_samples(fits).size() == 3);
  DataLoader loader(std::make_shared<NumberedDataset>(3), {.consumed_samples = 2, .vocab_size = 2});
  CHECK_THROWS_MATCHES(loader.next(), DataError,
                       Catch::Matchers::Message("data: sample 2: token id 2 is outside the model's vocabulary of 2; try: the "
                                                "tokenizer that made this data, or model.vocab_size to match it"));
}

TEST_CASE("a set smaller than a round of micro-batches has none", "[data]") {
  DataLoader loader(std::make_shared<NumberedDataset>(3), {.micro_batch_size = 2, .num_shards = 2});
  CHECK_FALSE(loader.next());
  DataLoader endless(std::make_shared<MockDataset>(MockPattern::random, 10, 4, 1, 2), {.consumed_samples = int64_t{1} << 40});
  CHECK(endless.next());
}

}  // namespace nemo
