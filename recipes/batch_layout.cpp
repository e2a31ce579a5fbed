#include "recipes/batch_layout.h"

#include <algorithm>

#include "core/ops/copy.h"
#include "parallel/context/sequence_cut.h"

namespace nemo {
namespace {

std::vector<int64_t> token_ids_of(const MicroBatch& batch) {
  const auto length = static_cast<size_t>(batch.seq_length);
  std::vector<int64_t> token_ids(batch.tokens.size());
  for (size_t i = 0; i < token_ids.size(); ++i) token_ids[i] = batch.sample_numbers[i / length] * batch.seq_length + static_cast<int64_t>(i % length);
  return token_ids;
}

TokenLayout place_whole(ExecContext& ctx, const MicroBatch& batch, const std::vector<int64_t>& token_ids) {
  // A sample is a sequence of its own; documents cut it further where the data set asked for that.
  std::vector<int32_t> bounds = batch.segment_offsets;
  TokenLayout tokens;
  tokens.num_tokens = static_cast<int64_t>(batch.tokens.size());
  tokens.num_segments = static_cast<int64_t>(bounds.size()) - 1;
  for (size_t i = 0; i + 1 < bounds.size(); ++i) tokens.max_query_length = std::max<int64_t>(tokens.max_query_length, bounds[i + 1] - bounds[i]);
  tokens.max_key_length = tokens.max_query_length;
  tokens.uniform = tokens.num_segments * tokens.max_query_length == tokens.num_tokens;
  tokens.ids = from_host(ctx, batch.tokens);
  tokens.labels = from_host(ctx, batch.labels);
  tokens.positions = from_host(ctx, batch.positions);
  tokens.token_ids = from_host(ctx, token_ids);
  const Tensor offsets = from_host(ctx, bounds);
  tokens.query_begin = tokens.key_begin = offsets.slice(0, 0, tokens.num_segments);
  tokens.query_end = tokens.key_end = offsets.slice(0, 1, tokens.num_segments);
  return tokens;
}

}  // namespace

TokenLayout place(ExecContext& ctx, const MicroBatch& batch, const ModelRanks& ranks) {
  const std::vector<int64_t> token_ids = token_ids_of(batch);
  const TokenLayout tokens = ranks.context.size() == 1 ? place_whole(ctx, batch, token_ids)
                                                       : place_shard(ctx, batch, token_ids, ranks.context.rank(), ranks.context.size(), ranks.context_comm);
  return ranks.tensor.stream_is_cut ? cut_stream(tokens, ranks.tensor.group.rank(), ranks.tensor.group.size()) : tokens;
}

}  // namespace nemo
