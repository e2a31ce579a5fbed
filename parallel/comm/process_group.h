// Ranks that communicate: a value that names its members and starts collectives among them.
// Not here: how bytes travel (host_communicator.h, nccl_communicator.h), which ranks form a group (parallel/mesh.h).
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/exec_context.h"
#include "core/tensor/tensor.h"
#include "parallel/comm/work.h"

namespace nemo {

class Communicator;

enum class Reduction : uint8_t { sum, max };

struct Transfer {
  int peer;       // its rank in the group
  Tensor tensor;  // sent from, or received into
};

// Every call names itself by `label`, which errors and dumps show with the group's name and the call's sequence number.
// It is queued on the group's own stream, after the work of the compute stream so far, and runs in the order of calls.
// The compute stream may touch the tensors again only after Work::wait; memory stays leased until the call has ended.
// All members make the same calls in the same order; those of different groups may be in flight at once.
// Tensors are contiguous and on the context's device: ShapeError where not. CommError names group, call and peer.
// On the CPU a sum of floats is taken in rank order in fp32 and rounded once, whatever carries the bytes.
// In a group of one rank results are copied where they are not in place, and nothing else happens.
class ProcessGroup {
 public:
  ProcessGroup() = default;  // "self": one rank
  explicit ProcessGroup(std::shared_ptr<Communicator> communicator);

  const std::string& name() const;
  int rank() const;  // mine in the group
  int size() const;
  std::span<const int> ranks() const;  // the members' ranks in the world; {0} for "self"

  Work all_reduce(ExecContext& ctx, const Tensor& tensor, Reduction reduction, std::string_view label) const;
  // input holds size() parts of output's size; part r ends at rank r. output may be the own part of input.
  Work reduce_scatter(ExecContext& ctx, const Tensor& output, const Tensor& input, Reduction reduction,
                      std::string_view label) const;
  // output holds size() parts of input's size, in rank order. input may be the own part of output.
  Work all_gather(ExecContext& ctx, const Tensor& output, const Tensor& input, std::string_view label) const;
  // input_rows[r] rows (of dim 0) go to rank r, output_rows[r] come from it; rows lie in rank order. No overlap.
  Work all_to_all(ExecContext& ctx, const Tensor& output, std::span<const int64_t> output_rows, const Tensor& input,
                  std::span<const int64_t> input_rows, std::string_view label) const;
  Work broadcast(ExecContext& ctx, const Tensor& tensor, int root, std::string_view label) const;
  // A send ends only when its receive has begun: two ranks that both send first and receive then wait for ever. Use
  // exchange.
  Work send(ExecContext& ctx, const Tensor& tensor, int peer, std::string_view label) const;
  Work recv(ExecContext& ctx, const Tensor& tensor, int peer, std::string_view label) const;
  // All of these at once, in no order among peers; between two ranks in the order given. Either list may be empty.
  Work exchange(ExecContext& ctx, std::vector<Transfer> sends, std::vector<Transfer> receives,
                std::string_view label) const;
  // Ends when every member has come to it (on CUDA: its stream has).
  Work barrier(ExecContext& ctx, std::string_view label) const;

 private:
  std::shared_ptr<Communicator> communicator_;  // null: one rank
};

// Makes groups among the ranks of one run. The transport is the factory's.
class GroupFactory {
 public:
  virtual ~GroupFactory() = default;
  virtual int rank() const = 0;
  virtual int world_size() const = 0;
  // ranks: ascending, mine among them. Every member calls this with the same name and ranks; groups of the same name
  // and ranks are told apart by the order of their making. One rank: a group that does nothing.
  virtual ProcessGroup make(const std::string& name, std::vector<int> ranks) = 0;
};

}  // namespace nemo
