#include "recipes/batch_layout.h"

#include <algorithm>
#include <cstring>

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

Tensor buffer(ExecContext& ctx, int64_t count, DType dtype) {
  return ctx.empty({count}, dtype, MemoryTag::data);
}

size_t staged_bytes(int64_t num_tokens) {
  return static_cast<size_t>(num_tokens) * (4 * sizeof(int32_t) + sizeof(int64_t)) + sizeof(int32_t);
}

}  // namespace

LayoutShape shape_of(const TokenLayout& tokens) {
  return {tokens.num_tokens, tokens.num_segments, tokens.max_query_length, tokens.uniform};
}

BatchBuffers::BatchBuffers(ExecContext& ctx, int64_t num_tokens)
    : ids_(buffer(ctx, num_tokens, DType::int32)),
      labels_(buffer(ctx, num_tokens, DType::int32)),
      positions_(buffer(ctx, num_tokens, DType::int32)),
      offsets_(buffer(ctx, num_tokens + 1, DType::int32)),
      token_ids_(buffer(ctx, num_tokens, DType::int64)),
      staging_(ctx.device(), staged_bytes(num_tokens)) {}

void BatchBuffers::send(ExecContext& ctx, const Tensor& to, const void* from, void*& staged) {
  std::memcpy(staged, from, to.bytes());
  upload(ctx, to, staged);
  staged = static_cast<std::byte*>(staged) + to.bytes();
}

TokenLayout BatchBuffers::place_whole(ExecContext& ctx, const MicroBatch& batch, const std::vector<int64_t>& token_ids) {
  // A sample is a sequence of its own; documents cut it further where the data set asked for that.
  const std::vector<int32_t>& bounds = batch.segment_offsets;
  TokenLayout tokens;
  tokens.num_tokens = num_tokens();
  tokens.num_segments = static_cast<int64_t>(bounds.size()) - 1;
  for (size_t i = 0; i + 1 < bounds.size(); ++i)
    tokens.max_query_length = std::max<int64_t>(tokens.max_query_length, bounds[i + 1] - bounds[i]);
  tokens.max_key_length = tokens.max_query_length;
  tokens.uniform = tokens.num_segments * tokens.max_query_length == tokens.num_tokens;
  void* staged = staging_.next();
  const Tensor offsets = offsets_.slice(0, 0, tokens.num_segments + 1);
  send(ctx, token_ids_, token_ids.data(), staged);  // the widest first: it wants to be aligned
  send(ctx, ids_, batch.tokens.data(), staged);
  send(ctx, labels_, batch.labels.data(), staged);
  send(ctx, positions_, batch.positions.data(), staged);
  send(ctx, offsets, bounds.data(), staged);
  staging_.sent(ctx.runtime().stream());

  tokens.ids = ids_;
  tokens.labels = labels_;
  tokens.positions = positions_;
  tokens.token_ids = token_ids_;
  tokens.query_begin = tokens.key_begin = offsets.slice(0, 0, tokens.num_segments);
  tokens.query_end = tokens.key_end = offsets.slice(0, 1, tokens.num_segments);
  return tokens;
}

TokenLayout BatchBuffers::place(ExecContext& ctx, const MicroBatch& batch, const ModelRanks& ranks) {
  const std::vector<int64_t> token_ids = token_ids_of(batch);
  const TokenLayout tokens = ranks.context.size() == 1 ? place_whole(ctx, batch, token_ids)
                                                       : place_shard(ctx, batch, token_ids, ranks.context.rank(), ranks.context.size(), ranks.context_comm);
  return ranks.tensor.stream_is_cut ? cut_stream(tokens, ranks.tensor.group.rank(), ranks.tensor.group.size()) : tokens;
}

TokenLayout place(ExecContext& ctx, const MicroBatch& batch, const ModelRanks& ranks) {
  return BatchBuffers(ctx, static_cast<int64_t>(batch.tokens.size())).place(ctx, batch, ranks);
}

}  // namespace nemo
