#include "core/checkpoint/checkpoint_writer.h"

#include <filesystem>

#include "core/checkpoint/retention.h"

namespace nemo {

void save_checkpoint(const std::string& path, const Snapshot& snapshot, int64_t keep_last) {
  std::vector<BoxToSave> boxes;
  boxes.reserve(snapshot.tensors.size());
  for (const Snapshot::Tensor& tensor : snapshot.tensors) boxes.push_back({tensor.box, tensor.dtype, tensor.bytes});
  save_checkpoint(path, boxes, snapshot.files);
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

void CheckpointWriter::save(const std::string& path, Snapshot&& snapshot, int64_t keep_last) {
  wait();
  in_flight_ = std::async(std::launch::async, [path, keep_last, owned = std::move(snapshot)]() mutable {
    const Snapshot mine = std::move(owned);  // freed when written, not when somebody asks for the outcome
    save_checkpoint(path, mine, keep_last);
  });
}

}  // namespace nemo
