#include "core/checkpoint/checkpoint_writer.h"

#include <filesystem>

#include "core/checkpoint/retention.h"
#include "core/error.h"

namespace nemo {
namespace {

constexpr std::string_view kFailed = "failed: ";

// What somebody told; an error where it is that he failed.
std::string heard(const CheckpointRanks& ranks, const std::string& path, const std::string& key, const std::string& who) {
  const std::string text = ranks.hear(key);
  if (text.starts_with(kFailed)) throw CheckpointError{path, who, text.substr(kFailed.size())};
  return text;
}

// The first rank makes the folder, hears of every shard, and commits. Whoever fails says so instead, and nobody waits in vain.
void save_as_first(const std::string& path, std::span<const BoxToSave> boxes, const SideFiles& files, const CheckpointRanks& ranks, const std::string& keys) {
  try {
    begin_checkpoint(path);
    ranks.tell(keys + "begun", "yes");
    std::vector<ShardRecord> shards{write_shard(path, 0, ranks.size, boxes)};
    for (int64_t rank = 1; rank < ranks.size; ++rank) {
      const std::string who = "rank " + std::to_string(rank);
      shards.push_back(shard_record_from_text(heard(ranks, path, keys + std::to_string(rank), who), who));
    }
    commit_checkpoint(path, shards, files);
    ranks.tell(keys + "committed", "yes");
  } catch (const std::exception& error) {
    abandon_checkpoint(path);
    for (const char* key : {"begun", "committed"}) ranks.tell(keys + key, std::string(kFailed) + error.what());
    throw;
  }
}

void save_as_other(const std::string& path, std::span<const BoxToSave> boxes, const CheckpointRanks& ranks, const std::string& keys) {
  heard(ranks, path, keys + "begun", "rank 0");
  try {
    ranks.tell(keys + std::to_string(ranks.rank), to_text(write_shard(path, ranks.rank, ranks.size, boxes)));
  } catch (const std::exception& error) {
    ranks.tell(keys + std::to_string(ranks.rank), std::string(kFailed) + error.what());
    throw;
  }
  heard(ranks, path, keys + "committed", "rank 0");
}

}  // namespace

void save_checkpoint(const std::string& path, const Snapshot& snapshot, int64_t keep_last, const CheckpointRanks& ranks, int64_t save_number) {
  std::vector<BoxToSave> boxes;
  boxes.reserve(snapshot.tensors.size());
  for (const Snapshot::Tensor& tensor : snapshot.tensors) boxes.push_back({tensor.box, tensor.dtype, tensor.bytes});
  const std::string keys = "checkpoint/" + std::to_string(save_number) + "/" + path + "/";
  if (ranks.size == 1) save_checkpoint(path, boxes, snapshot.files);
  else if (ranks.rank == 0) save_as_first(path, boxes, snapshot.files, ranks, keys);
  else return save_as_other(path, boxes, ranks, keys);
  prune_checkpoints(std::filesystem::path(path).parent_path().string(), keep_last, path);
}

CheckpointWriter::~CheckpointWriter() {
  if (in_flight_.valid()) in_flight_.wait();
}

void CheckpointWriter::wait() {
  if (in_flight_.valid()) in_flight_.get();
}

bool CheckpointWriter::busy() const {
  return in_flight_.valid() && in_flight_.wait_for(std::chrono::seconds(0)) != std::future_status::ready;
}

void CheckpointWriter::save(const std::string& path, Snapshot&& snapshot, int64_t keep_last, const CheckpointRanks& ranks) {
  wait();
  in_flight_ = std::async(std::launch::async, [path, keep_last, ranks, number = num_saves_++, owned = std::move(snapshot)]() mutable {
    const Snapshot mine = std::move(owned);  // freed when written, not when somebody asks for the outcome
    save_checkpoint(path, mine, keep_last, ranks, number);
  });
}

}  // namespace nemo
