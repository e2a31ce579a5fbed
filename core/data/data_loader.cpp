#include "core/data/data_loader.h"

#include <algorithm>
#include <string>

#include "core/error.h"

namespace nemo {
namespace {

void check_ids(const std::vector<int32_t>& tokens, int64_t vocab_size, int64_t sample_number) {
  for (const int32_t id : tokens) {
    if (id >= 0 && id < vocab_size) continue;
    throw DataError{"data", "sample " + std::to_string(sample_number), "token id " + std::to_string(id) +
                    " is outside the model's vocabulary of " + std::to_string(vocab_size),
                    "the tokenizer that made this data, or model.vocab_size to match it"};
  }
}

}  // namespace

DataLoader::DataLoader(std::shared_ptr<const Dataset> dataset, const DataLoaderOptions& options)
    : dataset_(std::move(dataset)), options_(options), consumed_samples_(options.consumed_samples) {
  thread_ = std::thread([this] { prefetch(); });
}

DataLoader::~DataLoader() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

std::optional<MicroBatch> DataLoader::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !ready_.empty() || failure_; });
  if (ready_.empty()) std::rethrow_exception(failure_);
  if (!ready_.front()) return std::nullopt;  // stays, so that every later call says the same
  std::optional<MicroBatch> batch = std::move(ready_.front());
  ready_.pop_front();
  consumed_samples_ += options_.micro_batch_size * options_.num_shards;
  lock.unlock();
  changed_.notify_all();
  return batch;
}

void DataLoader::prefetch() {
  int64_t first_sample = options_.consumed_samples;
  for (bool more = true; more; first_sample += options_.micro_batch_size * options_.num_shards) {
    std::optional<MicroBatch> batch;
    std::exception_ptr failure;
    try {
      batch = make(first_sample);
    } catch (...) {
      failure = std::current_exception();
    }
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stopping_ || static_cast<int64_t>(ready_.size()) < options_.num_prefetched; });
    if (stopping_) return;
    more = batch.has_value();
    if (failure) {
      failure_ = failure;
    } else {
      ready_.push_back(std::move(batch));
    }
    changed_.notify_all();
  }
}

std::optional<MicroBatch> DataLoader::make(int64_t first_sample) const {
  const int64_t num_rows = options_.micro_batch_size, seq_length = dataset_->seq_length();
  if (dataset_->num_samples() - num_rows * options_.num_shards < first_sample) return std::nullopt;
  MicroBatch batch;
  batch.micro_batch_size = num_rows;
  batch.seq_length = seq_length;
  for (auto* array : {&batch.tokens, &batch.labels, &batch.positions}) array->reserve(num_rows * seq_length);
  for (int64_t row = 0; row < num_rows; ++row) {
    const int64_t number = first_sample + options_.shard_index * num_rows + row;
    const Sample sample = dataset_->sample(number);
    if (options_.vocab_size > 0) {
      check_ids(sample.tokens, options_.vocab_size, number);
      std::vector<int32_t> targets = sample.labels;
      std::erase(targets, kIgnoredLabel);
      check_ids(targets, options_.vocab_size, number);
    }
    batch.tokens.insert(batch.tokens.end(), sample.tokens.begin(), sample.tokens.end());
    batch.labels.insert(batch.labels.end(), sample.labels.begin(), sample.labels.end());
    batch.positions.insert(batch.positions.end(), sample.positions.begin(), sample.positions.end());
    for (const int32_t start : sample.segment_starts) {
      batch.segment_offsets.push_back(static_cast<int32_t>(row * seq_length) + start);
    }
    batch.sample_numbers.push_back(number);
  }
  batch.segment_offsets.push_back(static_cast<int32_t>(num_rows * seq_length));
  batch.num_loss_tokens = static_cast<int64_t>(batch.labels.size()) -
                          std::count(batch.labels.begin(), batch.labels.end(), kIgnoredLabel);
  return batch;
}

}  // namespace nemo
