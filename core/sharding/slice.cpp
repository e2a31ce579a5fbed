#include "core/sharding/slice.h"

#include <algorithm>
#include <string>

#include "core/error.h"

namespace nemo {
namespace {

[[noreturn]] void fail(const Parameter& parameter, const std::string& subject, int64_t num_shards,
                       const std::string& suggestion) {
  throw PlanError{parameter.name, subject, "cannot be cut over " + std::to_string(num_shards) + " ranks", suggestion};
}

// Which of how many equal slices a rank holds.
struct Share {
  int64_t index, count;
};

Share share_of(const Parameter& parameter, const CutUnit& unit, int64_t size, int64_t shard_index, int64_t num_shards) {
  const Share plain{shard_index, num_shards};
  switch (unit.kind) {
    case CutUnit::Kind::element:
      if (size % num_shards != 0)
        fail(parameter, "a dimension of " + std::to_string(size), num_shards, "a number that divides it");
      return plain;
    case CutUnit::Kind::vocabulary:
      if (size % num_shards != 0)
        fail(parameter, "a vocabulary padded to " + std::to_string(size), num_shards,
             "pad it to a multiple of the ranks");
      return plain;
    case CutUnit::Kind::heads:
      if (unit.count % num_shards == 0) return plain;
      if (num_shards % unit.count != 0)
        fail(parameter, std::to_string(unit.count) + (unit.count == 1 ? " head" : " heads"), num_shards,
             "a divisor or a multiple of the heads");
      return {shard_index / (num_shards / unit.count), unit.count};
  }
  return plain;
}

}  // namespace

void cut(Parameter& parameter, const ShardRule& rule, int64_t shard_index, int64_t num_shards, bool stream_is_cut) {
  if (num_shards == 1) return;
  int64_t num_slices = 1;
  if (const Shard* const shard = std::get_if<Shard>(&rule.value)) {
    int64_t& size = parameter.shape[shard->dim];
    const Share share = share_of(parameter, rule.unit, size, shard_index, num_shards);
    num_slices = share.count;
    size /= num_slices;
    const int64_t first = share.index * size, all = parameter.global_shape[shard->dim];
    // Padding stands at the end of the whole dimension: the last slices hold it, perhaps nothing else.
    parameter.slice_offset[shard->dim] = std::min(first, all);
    if (shard->dim == 0) parameter.padding_rows = size - std::clamp<int64_t>(all - first, 0, size);
  }
  const int64_t holders = num_shards / num_slices;
  const bool partial =
      rule.gradient == GradientPart::own_heads || (rule.gradient == GradientPart::own_stream_rows && stream_is_cut);
  parameter.copies = {.count = holders, .first = shard_index % holders == 0, .partial = partial && holders > 1};
}

}  // namespace nemo
