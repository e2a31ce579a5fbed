// What a decoder's shape costs: parameters, and floating-point operations of a training step per token.
// Not here: memory, which a walk on the meta device measures.
#pragma once
#include <cstdint>

#include "models/decoder/config.h"

namespace nemo {

// Parameters of a resolved config with a known vocabulary; padding rows not counted, a tied matrix counted once.
int64_t count_parameters(const DecoderConfig& config);

// Forward and backward matrix products and attention of one token in a sequence of config.seq_length; recomputation,
// norms and pointwise work not counted. full: every query meets every key (the older tables' convention); causal: it
// meets the keys it can see, window included. LoRA-style frozen weights are not known here.
struct FlopsPerToken {
  double full, causal;
};
FlopsPerToken count_flops(const DecoderConfig& config);

}  // namespace nemo
