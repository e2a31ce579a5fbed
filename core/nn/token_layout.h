// Where each token of a batch stands: travels with the tokens through every forward and is cut together with them.
// Not here: the batch's texts (core/data), the cache's memory (core/nn/kv_cache.h).
#pragma once
#include <cstdint>

#include "core/tensor/tensor.h"

namespace nemo {

class KvCache;

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
  Tensor output_rows;      // [R] int32, the tokens whose logits are wanted in inference; undefined: all of them
  KvCache* cache = nullptr;  // keys and values of earlier tokens; null in training
};

}  // namespace nemo
