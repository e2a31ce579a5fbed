// Groups of ranks that each work on a GPU, by NCCL. Not here: NCCL's own calls (kernels/comm/nccl.h).
#pragma once
#include <chrono>
#include <map>
#include <memory>
#include <string>

#include "parallel/comm/call_log.h"
#include "parallel/comm/process_group.h"
#include "parallel/store/store_client.h"

namespace nemo {

class NcclGroups final : public GroupFactory {
 public:
  // deadline: for all members of a group to come to its making; a watchdog keeps the calls' own. The store must outlive
  // this.
  NcclGroups(StoreClient& store, int rank, int world_size, Device device, std::chrono::milliseconds deadline,
             std::shared_ptr<CallLog> log);

  int rank() const override { return rank_; }
  int world_size() const override { return world_size_; }
  // DeviceError where NCCL cannot be opened. Each group takes a stream and NCCL's buffers.
  ProcessGroup make(const std::string& name, std::vector<int> ranks) override;

 private:
  StoreClient& store_;
  int rank_, world_size_;
  Device device_;
  std::chrono::milliseconds deadline_;
  std::shared_ptr<CallLog> log_;
  std::map<std::string, int> num_made_;
};

}  // namespace nemo
