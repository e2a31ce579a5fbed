// A rank's slice of a parameter that a rule cuts. Not here: the rules of a model (models/*/sharding.h), groups of
// ranks.
#pragma once
#include <cstdint>

#include "core/nn/parameter.h"
#include "core/sharding/shard_rule.h"

namespace nemo {

// Makes a declared parameter, not yet allocated, the slice of `shard_index` among `num_shards`. stream_is_cut: the
// residual stream's rows lie over the same axis. PlanError where the rule's unit does not divide.
void cut(Parameter& parameter, const ShardRule& rule, int64_t shard_index, int64_t num_shards, bool stream_is_cut);

}  // namespace nemo
