// Scaled dot-product attention.
#pragma once
#include "core/exec_context.h"
#include "core/nn/token_layout.h"

namespace nemo {

struct AttentionOptions {
  float scale = 1;
  bool causal = true;
  int64_t window = 0;       // 0: none
  float softcap = 0;        // 0: none
  float dropout = 0;        // acts in training
  uint64_t dropout_site = 0;
  int64_t first_head = 0, total_heads = 0;  // where q's heads stand among all heads of the layer; 0: they are all
  bool allow_library = true;  // cuDNN where it has a plan; false: own kernel
  bool make_again = false;    // the backward makes the result again from q, k, v instead of keeping it
};

// q [T, N, H], k, v [T_k, G, H] (token-strided allowed)  ->  out [T, N, H]. Segments come from the layout. The gradients of
// q, k and v are written side by side, as split_columns likes them.
Tensor attention(ExecContext& ctx, const Tensor& q, const Tensor& k, const Tensor& v, const TokenLayout& tokens, const AttentionOptions& options);

}  // namespace nemo
