#include "parallel/data/data_parallel.h"

#include <algorithm>

#include "core/error.h"
#include "core/exec_context.h"
#include "core/ops/copy.h"
#include "core/ops/elementwise.h"

namespace nemo {
namespace {

std::string label_of(const FlatBuffer& flat, const char* what) {
  return flat.key.block +
         (flat.key.alone.empty() ? (flat.key.weight_decay ? ".decayed" : ".plain") : "." + flat.key.alone) + what;
}

}  // namespace

DataParallel::DataParallel(ParameterStore& store, ProcessGroup shard, ProcessGroup replica,
                           const DataParallelOptions& options)
    : store_(store), shard_(std::move(shard)), replica_(std::move(replica)), options_(options) {
  if (options.sharding == DataParallelSharding::no_shard && shard_.size() > 1)
    throw PlanError{"data parallel", "no_shard",
                    "is given a group of " + std::to_string(shard_.size()) + " ranks to share state"};
  const bool keeps_whole_gradients = !cut().gradients;
  if (options.deferred_weight_gradients && !keeps_whole_gradients)
    throw PlanError{"data parallel", "zero_bubble",
                    "keeps weight gradients for later, which " +
                        std::string(enum_names(options.sharding)[static_cast<size_t>(options.sharding)]) +
                        " would shard after each micro-batch",
                    "data_parallel_sharding_strategy no_shard or optim, or the 1f1b schedule"};
  hooks_.before_forward = [this](ExecContext& ctx, const std::string& block) {
    require(ctx, block);
    if (!in_backward_.contains(block)) prefetch(ctx, neighbours_[block].after);
  };
  hooks_.after_forward = [this](ExecContext& ctx, const std::string& block) {
    // The last block's backward is next; and a recomputed forward comes inside its own backward.
    if (in_backward_.contains(block) || (ctx.tape() != nullptr && neighbours_[block].last)) return;
    release(block);
  };
  hooks_.before_backward = [this](ExecContext& ctx, const std::string& block) {
    in_backward_.insert(block);
    const Neighbours& place = neighbours_[block];
    if (!place.first_leaf) require(ctx, block);
    if (!place.before.empty() && !neighbours_[place.before].first_leaf) prefetch(ctx, place.before);
  };
  hooks_.after_backward = [this](ExecContext& ctx, const std::string& block) {
    in_backward_.erase(block);
    release(block);
    if (!options_.deferred_weight_gradients) count_backward(ctx, {block});
  };
}

FlatCut DataParallel::cut() const {
  return {.shard_index = shard_.rank(),
          .num_shards = shard_.size(),
          .gradients = shard_.size() > 1 && options_.sharding >= DataParallelSharding::optim_grads,
          .values = shard_.size() > 1 && options_.sharding == DataParallelSharding::optim_grads_params};
}

DataParallel::~DataParallel() {
  if (ctx_ == nullptr) return;
  std::vector<Work> works = std::move(replica_sums_);
  for (Held& held : held_) works.push_back(held.gather);
  for (PartialSum& sum : reductions_) works.push_back(sum.work);
  for (Work& work : works) {
    try {
      work.wait(*ctx_);
    } catch (const std::exception&) {  // the run has ended by this or an earlier error, which its own waiter throws
    }
  }
}

void DataParallel::follow(ExecContext& ctx, const std::vector<BlockOrder>& chunks) {
  ctx_ = &ctx;
  std::set<std::string> here;
  for (const BlockOrder& chunk : chunks) {
    for (size_t i = 0; i < chunk.blocks.size(); ++i) {
      here.insert(chunk.blocks[i]);
      neighbours_[chunk.blocks[i]] = {.before = i > 0 ? chunk.blocks[i - 1] : "",
                                      .after = i + 1 < chunk.blocks.size() ? chunk.blocks[i + 1] : "",
                                      .first_leaf = i == 0 && chunk.first_is_leaf,
                                      .last = i + 1 == chunk.blocks.size()};
    }
  }
  for (FlatBuffer& flat : store_.flat_buffers()) {
    Held& held = held_.emplace_back(&flat);
    for (const std::string& block : flat.used_by()) {
      if (!here.contains(block)) continue;
      ++held.uses;
      of_block_[block].push_back(&held);
    }
  }
}

void DataParallel::begin_step(int64_t num_micro_batches) {
  for (Held& held : held_) {
    held.backwards_left = held.uses * num_micro_batches;
    held.owned_written = held.reduced = false;
  }
}

// ---- values ----

void DataParallel::start_gather(ExecContext& ctx, Held& held) {
  FlatBuffer& flat = *held.flat;
  if (flat.values.defined()) return;
  flat.values = ctx.empty({flat.numel}, flat.owned_values.dtype(), MemoryTag::parameters);
  held.gather = shard_.all_gather(ctx, flat.values, flat.owned_values, label_of(flat, ".values"));
}

void DataParallel::require(ExecContext& ctx, const std::string& block) {
  for (Held* held : of_block_[block]) {
    held->holders.insert(block);
    start_gather(ctx, *held);
    held->gather.wait(ctx);
    held->gather = {};
  }
}

void DataParallel::prefetch(ExecContext& ctx, const std::string& block) {
  if (block.empty() || !store_.cut().values || !options_.overlap_param_gather) return;
  for (Held* held : of_block_[block]) {
    held->holders.insert(block);
    start_gather(ctx, *held);
  }
}

void DataParallel::release(const std::string& block) {
  if (!store_.cut().values) return;
  for (Held* held : of_block_[block]) {
    held->holders.erase(block);
    if (held->holders.empty()) held->flat->values = Tensor();
  }
}

void DataParallel::gather_values(ExecContext& ctx) {
  const FlatCut& cut = store_.cut();
  if (cut.num_shards == 1 || cut.values) return;
  for (Held& held : held_) {
    if (!held.flat->key.trainable) continue;
    held.gather = shard_.all_gather(ctx, held.flat->values, held.flat->owned_values, label_of(*held.flat, ".values"));
    if (!options_.overlap_param_gather) held.gather.wait(ctx);
  }
}

void DataParallel::wait_for_values(ExecContext& ctx) {
  for (Held& held : held_) {
    held.gather.wait(ctx);
    held.gather = {};
  }
}

// ---- gradients ----

void DataParallel::count_backward(ExecContext& ctx, const std::vector<std::string>& blocks) {
  for (const std::string& block : blocks)
    for (Held* held : of_block_[block])
      if (held->flat->key.trainable) backward_of(ctx, *held);
}

void DataParallel::backward_of(ExecContext& ctx, Held& held) {
  const bool last = --held.backwards_left == 0;
  const bool micro_batch_whole = held.backwards_left % held.uses == 0;
  if (store_.cut().gradients ? micro_batch_whole : last && options_.overlap_grad_reduce) reduce(ctx, held, last);
}

void DataParallel::reduce(ExecContext& ctx, Held& held, bool last) {
  FlatBuffer& flat = *held.flat;
  held.reduced = last;
  store_.zero_unwritten(ctx, flat);
  if (before_reduction_) before_reduction_(ctx, flat);
  if (!store_.cut().gradients) {
    if (shard_.size() > 1)
      reductions_.push_back({&held,
                             shard_.reduce_scatter(ctx, flat.owned_gradients, flat.gradients, Reduction::sum,
                                                   label_of(flat, ".gradients")),
                             {},
                             last});
    else
      replica_sums_.push_back(
          replica_.all_reduce(ctx, flat.owned_gradients, Reduction::sum, label_of(flat, ".gradients")));
    if (replica_.size() > 1) finish_reductions(ctx, 1);
    return;
  }
  const Tensor part = held.owned_written
                          ? ctx.empty({flat.owned_numel}, flat.owned_gradients.dtype(), MemoryTag::gradients)
                          : flat.owned_gradients;
  reductions_.push_back({&held,
                         shard_.reduce_scatter(ctx, part, flat.gradients, Reduction::sum, label_of(flat, ".gradients")),
                         held.owned_written ? part : Tensor(), last});
  held.owned_written = true;
  store_.release_gradients(flat);
  finish_reductions(ctx, options_.overlap_grad_reduce ? 2 : 0);  // a block's two buffers may be on their way
}

// Waits for all but the newest `leave` reductions, adds them up over micro-batches, and passes the last ones on to the
// replicas.
void DataParallel::finish_reductions(ExecContext& ctx, size_t leave) {
  while (reductions_.size() > leave) {
    PartialSum reduction = std::move(reductions_.front());
    reductions_.pop_front();
    FlatBuffer& flat = *reduction.held->flat;
    reduction.work.wait(ctx);
    if (reduction.part.defined()) add_to(ctx, flat.owned_gradients, reduction.part);
    if (reduction.last && replica_.size() > 1)
      replica_sums_.push_back(
          replica_.all_reduce(ctx, flat.owned_gradients, Reduction::sum, label_of(flat, ".gradients")));
  }
}

void DataParallel::finish_gradients(ExecContext& ctx) {
  for (Held& held : held_)
    if (held.flat->key.trainable && !held.reduced) reduce(ctx, held, true);
  finish_reductions(ctx, 0);
  for (Work& work : replica_sums_) work.wait(ctx);
  replica_sums_.clear();
}

}  // namespace nemo
