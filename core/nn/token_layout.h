// Where each token of a batch stands: travels with the tokens through every forward and is cut together with them.
// Not here: the batch's texts (core/data), the cache's memory (core/nn/kv_cache.h).
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "core/tensor/tensor.h"

namespace nemo {

class KvCache;
struct SequenceCut;

// T tokens in num_segments segments that do not see each other. All tensors lie on the model's device.
struct TokenLayout {
  int64_t num_tokens = 0, num_segments = 0;
  int64_t max_query_length = 0, max_key_length = 0;  // of one segment
  bool uniform = false;    // segments are all max_query_length long, follow each other, and need no cache
  Tensor ids;              // [T] int32, token ids
  Tensor labels;           // [T] int32, next tokens, kernels::kIgnoredLabel where not counted; undefined in inference
  Tensor positions;        // [T] int32, within the sequence
  Tensor token_ids;        // [T] int64, global index of the token in this step: keys dropout; undefined in inference
  Tensor query_begin, query_end, key_begin, key_end;  // [num_segments] int32, into this batch's tokens or the cache
  Tensor key_positions;    // [T_k] int32, each key's place in its whole segment: keys attention dropout; undefined: as it lies here
  Tensor output_rows;      // [R] int32, the tokens whose logits are wanted in inference; undefined: all of them
  KvCache* cache = nullptr;  // keys and values of earlier tokens; null in training

  // Where a plan cuts the residual stream's rows over ranks, this rank's rows of positions and token_ids; undefined: all T.
  Tensor own_positions, own_token_ids;
  const Tensor& stream_positions() const { return own_positions.defined() ? own_positions : positions; }
  int64_t num_stream_rows() const { return own_positions.defined() ? own_positions.dim(0) : num_tokens; }
  const Tensor& stream_token_ids() const { return own_token_ids.defined() ? own_token_ids : token_ids; }

  std::shared_ptr<const SequenceCut> cut;  // where a plan cuts the sequences: what attention needs to know; else null
};

// The tokens of a layout are this rank's chunks of sequences that lie over several ranks. What is in it follows from the
// plan's attention (parallel/context).
struct SequenceCut {
  int64_t num_tokens = 0;             // of the whole micro-batch
  // Row r of the tokens of all ranks, one rank after the other, is row sequence_order[r] of the micro-batch; and the inverse.
  Tensor sequence_order, rank_order;  // [num_tokens] int32
  std::vector<TokenLayout> calls;     // one per attention call, in the plan's order
};

}  // namespace nemo
