// Groups of CPU processes over TCP, by Gloo. Not here: what a collective does with the bytes (host_communicator.h).
#pragma once
#include <chrono>
#include <map>
#include <memory>
#include <string>

#include "parallel/comm/call_log.h"
#include "parallel/comm/process_group.h"
#include "parallel/store/store_client.h"

namespace nemo {

class GlooWorld;

// One mesh of connections between all ranks serves every group.
class GlooGroups final : public GroupFactory {
 public:
  // Connects to all other ranks, which must come within `deadline`; it is also the time an exchange may take. The store
  // must outlive this.
  GlooGroups(StoreClient& store, int rank, int world_size, std::chrono::milliseconds deadline,
             std::shared_ptr<CallLog> log);
  ~GlooGroups() override;

  int rank() const override { return rank_; }
  int world_size() const override { return world_size_; }
  ProcessGroup make(const std::string& name, std::vector<int> ranks) override;

 private:
  StoreClient& store_;
  int rank_, world_size_;
  std::chrono::milliseconds deadline_;
  std::shared_ptr<CallLog> log_;
  std::shared_ptr<GlooWorld> world_;
  std::map<std::string, int> num_made_;
};

}  // namespace nemo
