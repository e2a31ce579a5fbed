// What a process group asks of the thing that carries its calls. Not here: argument checks (process_group.cpp).
#pragma once
#include <string>
#include <vector>

#include "parallel/comm/process_group.h"

namespace nemo {

enum class Collective : uint8_t { all_reduce, reduce_scatter, all_gather, all_to_all, broadcast, exchange, barrier };
std::string_view name(Collective collective);

// Checked: tensors contiguous, of one dtype, on the context's device, sizes in agreement with the group's.
struct CommCall {
  Collective collective;
  std::string label;
  Reduction reduction = Reduction::sum;
  Tensor output = {}, input = {};                              // all_reduce and broadcast: both the one tensor
  std::vector<int64_t> output_counts = {}, input_counts = {};  // all_to_all: elements of each rank
  int root = 0;
  std::vector<Transfer> sends = {}, receives = {};  // exchange
};

// Payload this rank hands to others: what a dump or a counting group tells of a call.
size_t sent_bytes(const CommCall& call, int rank, int size);

struct GroupMembers {
  std::string name;
  std::vector<int> ranks;  // in the world, ascending
  int rank;                // mine in the group
  int size() const { return static_cast<int>(ranks.size()); }
};

class Communicator {
 public:
  explicit Communicator(GroupMembers members) : members_(std::move(members)) {}
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  const GroupMembers& members() const { return members_; }
  virtual Work start(ExecContext& ctx, CommCall call) = 0;

 private:
  GroupMembers members_;
};

}  // namespace nemo
