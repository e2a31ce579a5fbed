// Groups of the meta device: they move nothing and count what would travel. Not here: what a byte costs in time.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "parallel/comm/process_group.h"

namespace nemo {

struct CommCount {
  int64_t calls = 0;
  size_t sent_bytes = 0;  // by this rank to others
};

// By group name and collective ("all_reduce").
using CommCounts = std::map<std::pair<std::string, std::string>, CommCount>;

// Stands for the factory of one rank of a run that does not exist.
class CountingGroups final : public GroupFactory {
 public:
  CountingGroups(int rank, int world_size) : rank_(rank), world_size_(world_size) {}
  int rank() const override { return rank_; }
  int world_size() const override { return world_size_; }
  ProcessGroup make(const std::string& name, std::vector<int> ranks) override;
  const CommCounts& counts() const { return *counts_; }

 private:
  int rank_, world_size_;
  std::shared_ptr<CommCounts> counts_ = std::make_shared<CommCounts>();
};

}  // namespace nemo
