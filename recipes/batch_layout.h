// Micro-batches on the device: tokens, labels, positions and segments as the model reads them.
// Not here: what a batch holds (core/data/data_loader.h).
#pragma once
#include <optional>

#include "core/data/data_loader.h"
#include "core/device/staging_ring.h"
#include "core/exec_context.h"
#include "core/nn/token_layout.h"
#include "parallel/apply.h"

namespace nemo {

// What the host knows of a layout when it queues work: two layouts that agree in it differ only in the contents of
// their tensors.
struct LayoutShape {
  int64_t num_tokens = 0, num_segments = 0, max_query_length = 0;
  bool uniform = false;
  bool operator==(const LayoutShape&) const = default;
};
LayoutShape shape_of(const TokenLayout& tokens);

// Places batches of one number of tokens, however they are cut, one after the other at the same addresses.
class BatchBuffers {
 public:
  BatchBuffers(ExecContext& ctx, int64_t num_tokens);

  // Waits for nothing that the device does. In stream order this overwrites the batch before.
  // dropout's token ids count positions over all samples of the run. Where ranks share the sequences or the residual stream: the
  // part of this one, of which each is given the whole batch; shared sequences lie at addresses of their own.
  TokenLayout place(ExecContext& ctx, const MicroBatch& batch, const ModelRanks& ranks = {});
  int64_t num_tokens() const { return ids_.dim(0); }

 private:
  TokenLayout place_whole(ExecContext& ctx, const MicroBatch& batch, const std::vector<int64_t>& token_ids);
  void send(ExecContext& ctx, const Tensor& to, const void* from, void*& staged);

  Tensor ids_, labels_, positions_, offsets_;  // int32: [T], [T], [T], [T + 1]: at most one segment a token
  Tensor token_ids_;                           // [T] int64
  StagingRing staging_;
};

// One batch at addresses of its own.
TokenLayout place(ExecContext& ctx, const MicroBatch& batch, const ModelRanks& ranks = {});

}  // namespace nemo
