// How the decoder family may be cut over the tensor axis: every parameter and every linear layer, by name.
// Not here: ranks, and the collectives that a cut needs (parallel/tensor).
#pragma once
#include <span>
#include <vector>

#include "core/sharding/shard_rule.h"
#include "models/decoder/config.h"

namespace nemo {

std::vector<ShardRule> decoder_sharding(const DecoderConfig& config);
std::span<const ModuleRule> decoder_modules();

}  // namespace nemo
