// Samples that lie over several ranks: which tokens of a micro-batch are this rank's, and between which queries and
// keys its attention runs.  A sample is cut into 2 * ranks chunks of which rank r has chunks r and 2 * ranks - 1 - r,
// so that causal attention costs every rank the same. Not here: the exchange of keys and values (*_attention.h).
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "core/data/data_loader.h"
#include "core/exec_context.h"
#include "core/nn/token_layout.h"
#include "parallel/config.h"

namespace nemo {

// Rows of the micro-batch, in the order in which this rank keeps them: sample by sample, first chunk, second chunk.
// ShapeError where the length is not a multiple of 2 * num_shards.
std::vector<int32_t> rows_of_shard(const MicroBatch& batch, int64_t shard_index, int64_t num_shards);

// This rank's tokens on the device, with what its kind of attention needs in `cut`. token_ids: one a row of the
// micro-batch.
TokenLayout place_shard(ExecContext& ctx, const MicroBatch& batch, std::span<const int64_t> token_ids,
                        int64_t shard_index, int64_t num_shards, ContextParallelComm comm);

}  // namespace nemo
