#include "core/nn/kv_cache.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "core/ops/copy.h"

namespace nemo {
KvCache::KvCache(ExecContext& ctx, int64_t num_layers, int64_t num_sequences, int64_t max_length, int64_t num_groups, int64_t head_size)
    : max_length_(max_length), lengths_(static_cast<size_t>(num_sequences), 0) {
  for (int64_t layer = 0; layer < num_layers; ++layer) {
    keys_.push_back(ctx.empty({num_sequences * max_length, num_groups, head_size}, ctx.compute_dtype(), MemoryTag::cache));
    values_.push_back(ctx.empty({num_sequences * max_length, num_groups, head_size}, ctx.compute_dtype(), MemoryTag::cache));
  }
}

TokenLayout KvCache::layout(ExecContext& ctx, const std::vector<int32_t>& ids, const std::vector<int64_t>& counts) {
  TokenLayout tokens;
  tokens.num_tokens = static_cast<int64_t>(ids.size());
  tokens.num_segments = num_sequences();
  std::vector<int32_t> positions, query_begin, query_end, key_begin, key_end;
  int64_t first = 0;
  for (int64_t i = 0; i < num_sequences(); ++i) {
    const int64_t count = counts[static_cast<size_t>(i)], length = lengths_[static_cast<size_t>(i)];
    if (length + count > max_length_)
      throw ShapeError{"generate", "sequence " + std::to_string(i), "needs " + std::to_string(length + count) + " positions, the cache holds " + std::to_string(max_length_)};
    for (int64_t j = 0; j < count; ++j) positions.push_back(static_cast<int32_t>(length + j));
    query_begin.push_back(static_cast<int32_t>(first));
    query_end.push_back(static_cast<int32_t>(first + count));
    key_begin.push_back(static_cast<int32_t>(i * max_length_));
    key_end.push_back(static_cast<int32_t>(i * max_length_ + length + count));
    tokens.max_query_length = std::max(tokens.max_query_length, count);
    tokens.max_key_length = std::max(tokens.max_key_length, length + count);
    first += count;
  }
  if (first != tokens.num_tokens) throw ShapeError{"generate", "ids", std::to_string(tokens.num_tokens) + " given, " + std::to_string(first) + " counted"};
  tokens.ids = from_host(ctx, ids);
  tokens.positions = from_host(ctx, positions);
  tokens.query_begin = from_host(ctx, query_begin);
  tokens.query_end = from_host(ctx, query_end);
  tokens.key_begin = from_host(ctx, key_begin);
  tokens.key_end = from_host(ctx, key_end);
  tokens.cache = this;
  pending_ = counts;
  ctx.synchronize();  // the host vectors end here
  return tokens;
}

void KvCache::advance(const std::vector<int64_t>& counts) {
  for (size_t i = 0; i < lengths_.size(); ++i) lengths_[i] += counts[i];
}

KvCache::View KvCache::append(ExecContext& ctx, int64_t layer, const Tensor& k, const Tensor& v) {
  const Tensor &keys = keys_[static_cast<size_t>(layer)], &values = values_[static_cast<size_t>(layer)];
  int64_t first = 0;
  for (size_t i = 0; i < pending_.size(); ++i) {
    if (pending_[i] == 0) continue;
    const int64_t row = static_cast<int64_t>(i) * max_length_ + lengths_[i];
    copy_rows(ctx, keys.slice(0, row, pending_[i]), k.slice(0, first, pending_[i]));
    copy_rows(ctx, values.slice(0, row, pending_[i]), v.slice(0, first, pending_[i]));
    first += pending_[i];
  }
  return {keys, values};
}

void KvCache::reorder(ExecContext& ctx, const std::vector<int64_t>& origins) {
  const int64_t longest = *std::max_element(lengths_.begin(), lengths_.end());
  const Shape shape{num_sequences() * longest, keys_.front().dim(1), keys_.front().dim(2)};
  const Tensor staging = ctx.empty(shape, keys_.front().dtype(), MemoryTag::workspace);
  for (std::vector<Tensor>* side : {&keys_, &values_}) {
    for (const Tensor& rows : *side) {
      for (int64_t i = 0; i < num_sequences(); ++i) copy_rows(ctx, staging.slice(0, i * longest, longest), rows.slice(0, origins[static_cast<size_t>(i)] * max_length_, longest));
      for (int64_t i = 0; i < num_sequences(); ++i) copy_rows(ctx, rows.slice(0, i * max_length_, longest), staging.slice(0, i * longest, longest));
    }
  }
  std::vector<int64_t> lengths;
  for (const int64_t origin : origins) lengths.push_back(lengths_[static_cast<size_t>(origin)]);
  lengths_ = std::move(lengths);
}

}  // namespace nemo
