// Data parallelism over the flat buffers of a parameter store: gradients summed over the ranks that see other samples,
// and what those ranks share out (optimizer state, gradients, values), overlapped with the passes through block hooks.
//   Rajbhandari et al. 2020 (ZeRO), arXiv:1910.02054; Zhao et al. 2023 (FSDP), arXiv:2304.11277.
// Not here: the cut itself (core/nn/parameter_store.h), which ranks form a group (parallel/mesh.h), the update
// (core/optim).
#pragma once
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/autograd/tape.h"
#include "core/nn/parameter_store.h"
#include "parallel/comm/process_group.h"
#include "parallel/config.h"

namespace nemo {

struct DataParallelOptions {
  DataParallelSharding sharding = DataParallelSharding::no_shard;
  bool overlap_grad_reduce =
      true;  // reduce a buffer as soon as its gradients are whole; else all of them after the backward
  bool overlap_param_gather =
      true;  // gather updated or sharded values ahead of their use; else wait for each gather at once
  bool deferred_weight_gradients =
      false;  // gradients are whole when count_backward says so, not when a block's backward ends
};

// The order in which a stage chunk runs its blocks.
struct BlockOrder {
  std::vector<std::string> blocks;
  bool first_is_leaf = true;  // nothing before the first block wants gradients, so its backward reads no values
};

class DataParallel {
 public:
  // shard: the ranks that share out what the strategy cuts (one rank under no_shard); replica: those that hold the same
  // part. Together they are all ranks with samples of their own. The store must outlive this.
  DataParallel(ParameterStore& store, ProcessGroup shard, ProcessGroup replica, const DataParallelOptions& options);
  ~DataParallel();  // waits for what is in flight: it reads and writes the store's memory
  DataParallel(const DataParallel&) = delete;
  DataParallel& operator=(const DataParallel&) = delete;

  // What must happen to a buffer's gradients before they are summed over samples, whenever that is.
  void set_before_reduction(std::function<void(ExecContext&, const FlatBuffer&)> before) {
    before_reduction_ = std::move(before);
  }
  FlatCut cut() const;  // what the store is to be allocated with
  void follow(ExecContext& ctx,
              const std::vector<BlockOrder>& chunks);  // after that: which blocks will run; ctx must outlive this
  const BlockHooks& hooks() const { return hooks_; }   // around every block of every pass
  const ProcessGroup& shard() const { return shard_; }
  const ProcessGroup& replica() const { return replica_; }

  void begin_step(int64_t num_micro_batches);
  // With deferred weight gradients: those of one micro-batch of these blocks are complete.
  void count_backward(ExecContext& ctx, const std::vector<std::string>& blocks);
  // Reduces what is left and waits: each rank then has the sum of its own part in owned_gradients.
  void finish_gradients(ExecContext& ctx);
  // After the update: starts to bring the whole values back where they last.
  void gather_values(ExecContext& ctx);
  void wait_for_values(ExecContext& ctx);  // for readers other than blocks

 private:
  struct Held {  // a flat buffer and where it stands
    explicit Held(FlatBuffer* buffer) : flat(buffer) {}
    FlatBuffer* flat;
    int64_t uses = 0;               // blocks here that read it
    int64_t backwards_left = 0;     // of blocks that use it, in this step
    bool owned_written = false;     // owned_gradients hold something of this step
    bool reduced = false;           // all of this step is on its way
    std::set<std::string> holders;  // blocks that want the values now
    Work gather;
  };
  struct PartialSum {
    Held* held;
    Work work;
    Tensor part;
    bool last;
  };  // part: to be added to owned_gradients; undefined when it went there

  void require(ExecContext& ctx, const std::string& block);
  void prefetch(ExecContext& ctx, const std::string& block);
  void release(const std::string& block);
  void start_gather(ExecContext& ctx, Held& held);
  void backward_of(ExecContext& ctx, Held& held);
  void reduce(ExecContext& ctx, Held& held, bool last);
  void finish_reductions(ExecContext& ctx, size_t leave);

  struct Neighbours {
    std::string before, after;
    bool first_leaf = false, last = false;
  };
  ParameterStore& store_;
  ExecContext* ctx_ = nullptr;
  ProcessGroup shard_, replica_;
  DataParallelOptions options_;
  std::function<void(ExecContext&, const FlatBuffer&)> before_reduction_;
  BlockHooks hooks_;
  std::deque<Held> held_;
  std::map<std::string, std::vector<Held*>, std::less<>> of_block_;
  std::map<std::string, Neighbours, std::less<>> neighbours_;
  std::set<std::string> in_backward_;
  std::deque<PartialSum> reductions_;  // oldest first
  std::vector<Work> replica_sums_;
};

}  // namespace nemo
