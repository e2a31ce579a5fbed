// Micro-batches of a data set, in order, prepared by a background thread. Which samples exist is the Dataset's matter,
// and moving batches to a device the trainer's.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "core/data/dataset.h"

namespace nemo {

// B samples of S positions, one after the other.
struct MicroBatch {
  int64_t micro_batch_size = 0, seq_length = 0;
  std::vector<int32_t> tokens;           // [B * S]
  std::vector<int32_t> labels;           // [B * S], kIgnoredLabel where there is no loss
  std::vector<int32_t> positions;        // [B * S]
  std::vector<int32_t> segment_offsets;  // from 0 to B * S, ascending: tokens attend within their own segment only
  std::vector<int64_t> sample_numbers;   // [B], the samples' places in the run's whole order; dropout is keyed by them
  int64_t num_loss_tokens = 0;           // labels that are not ignored
};

struct DataLoaderOptions {
  int64_t micro_batch_size = 1;
  int64_t shard_index = 0, num_shards = 1;  // data-parallel share: of each num_shards * B samples, the shard_index-th B
  int64_t consumed_samples = 0;             // by all shards together; where a resumed run goes on
  int64_t vocab_size = 0;                   // ids must be below it; 0: not checked
  int64_t num_prefetched = 4;               // micro-batches made ahead
};

// The order depends on the data set and on consumed_samples alone, not on the threads' timing.
class DataLoader {
 public:
  DataLoader(std::shared_ptr<const Dataset> dataset, const DataLoaderOptions& options);
  ~DataLoader();
  DataLoader(const DataLoader&) = delete;

  // None when fewer than num_shards * B samples are left. Throws what reading the data threw.
  std::optional<MicroBatch> next();

  // The whole state: give it to a new loader and it goes on behind the batch that next() gave last.
  int64_t consumed_samples() const { return consumed_samples_; }

 private:
  std::optional<MicroBatch> make(int64_t first_sample) const;
  void prefetch();

  std::shared_ptr<const Dataset> dataset_;
  DataLoaderOptions options_;
  int64_t consumed_samples_;

  std::mutex mutex_;  // guards the four below
  std::condition_variable changed_;
  std::deque<std::optional<MicroBatch>> ready_;
  std::exception_ptr failure_;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace nemo
