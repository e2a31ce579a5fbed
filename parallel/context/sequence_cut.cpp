#include "parallel/context/sequence_cut.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "core/error.h"
#include "core/ops/copy.h"

namespace nemo {
namespace {

// Tokens [begin, end) of the micro-batch or, after a cut, of what a rank keeps of it.
struct Rows {
  int32_t begin = 0, end = 0;
  int32_t length() const { return end - begin; }
};

Rows common(Rows a, Rows b) {
  return {std::max(a.begin, b.begin), std::max(std::max(a.begin, b.begin), std::min(a.end, b.end))};
}

// The chunks of every rank, in rows of the micro-batch and in rows of the rank.
class Chunks {
 public:
  Chunks(const MicroBatch& batch, int64_t num_shards)
      : length_(static_cast<int32_t>(batch.seq_length)),
        size_(static_cast<int32_t>(batch.seq_length / (2 * num_shards))),
        num_shards_(num_shards) {
    if (batch.seq_length % (2 * num_shards) != 0)
      throw ShapeError{"context_parallel", "sequences of " + std::to_string(batch.seq_length) + " tokens",
                       "do not divide into " + std::to_string(2 * num_shards) + " chunks"};
  }
  int32_t size() const { return size_; }

  Rows first(int64_t sample, int64_t shard) const { return at(sample, shard); }
  Rows second(int64_t sample, int64_t shard) const { return at(sample, 2 * num_shards_ - 1 - shard); }

  // The part of a segment that lies in a rank's first or second chunk of a sample, in rows of that rank.
  Rows local_first(int64_t sample, int64_t shard, Rows segment) const {
    return moved(common(segment, first(sample, shard)), first(sample, shard).begin, start(sample));
  }
  Rows local_second(int64_t sample, int64_t shard, Rows segment) const {
    return moved(common(segment, second(sample, shard)), second(sample, shard).begin, start(sample) + size_);
  }
  // In either: what lies in both chunks holds all between them, so it ends the first and begins the second.
  Rows local_both(int64_t sample, int64_t shard, Rows segment) const {
    const Rows a = local_first(sample, shard, segment), b = local_second(sample, shard, segment);
    if (a.length() == 0) return b;
    return b.length() == 0 ? a : Rows{a.begin, b.end};
  }

 private:
  Rows at(int64_t sample, int64_t chunk) const {
    const auto begin = static_cast<int32_t>(sample * length_ + chunk * size_);
    return {begin, begin + size_};
  }
  int32_t start(int64_t sample) const { return static_cast<int32_t>(sample) * 2 * size_; }
  static Rows moved(Rows rows, int32_t from, int32_t to) { return {rows.begin - from + to, rows.end - from + to}; }

  int32_t length_, size_;
  int64_t num_shards_;
};

// Segments of one attention call, gathered on the host.
struct Segments {
  std::vector<int32_t> query_begin, query_end, key_begin, key_end;

  void add(Rows queries, Rows keys) {
    if (queries.length() == 0 || keys.length() == 0) return;
    query_begin.push_back(queries.begin);
    query_end.push_back(queries.end);
    key_begin.push_back(keys.begin);
    key_end.push_back(keys.end);
  }

  void place(ExecContext& ctx, TokenLayout& tokens) const {
    tokens.num_segments = static_cast<int64_t>(query_begin.size());
    tokens.max_query_length = tokens.max_key_length = 0;
    for (size_t i = 0; i < query_begin.size(); ++i) {
      tokens.max_query_length = std::max<int64_t>(tokens.max_query_length, query_end[i] - query_begin[i]);
      tokens.max_key_length = std::max<int64_t>(tokens.max_key_length, key_end[i] - key_begin[i]);
    }
    tokens.uniform = false;
    tokens.query_begin = from_host(ctx, query_begin);
    tokens.query_end = from_host(ctx, query_end);
    tokens.key_begin = from_host(ctx, key_begin);
    tokens.key_end = from_host(ctx, key_end);
  }
};

// Calls body(sample, segment) for the micro-batch's segments; none crosses a sample's end.
template <class Body>
void for_each_segment(const MicroBatch& batch, const Body& body) {
  for (size_t i = 0; i + 1 < batch.segment_offsets.size(); ++i)
    body(batch.segment_offsets[i] / batch.seq_length, Rows{batch.segment_offsets[i], batch.segment_offsets[i + 1]});
}

template <class T>
std::vector<T> picked(std::span<const T> values, std::span<const int32_t> rows) {
  std::vector<T> result;
  result.reserve(rows.size());
  for (const int32_t row : rows) result.push_back(values[static_cast<size_t>(row)]);
  return result;
}

// Keys of all ranks in the micro-batch's order. Two calls: a key serves the queries of both chunks.
void plan_gathered(ExecContext& ctx, const MicroBatch& batch, const Chunks& chunks, int64_t shard,
                   const TokenLayout& tokens, SequenceCut& cut) {
  Segments first, second;
  for_each_segment(batch, [&](int64_t sample, Rows segment) {
    const Rows a = common(segment, chunks.first(sample, shard)), b = common(segment, chunks.second(sample, shard));
    first.add(chunks.local_first(sample, shard, segment), {segment.begin, a.end});
    second.add(chunks.local_second(sample, shard, segment), {segment.begin, b.end});
  });
  for (const Segments* segments : {&first, &second}) segments->place(ctx, cut.calls.emplace_back(tokens));
}

// One call per rank whose keys come by, from this rank's own on downwards. Only the first meets keys behind its
// queries.
void plan_ring(ExecContext& ctx, const MicroBatch& batch, const Chunks& chunks, int64_t shard, int64_t num_shards,
               const TokenLayout& tokens, SequenceCut& cut) {
  std::vector<int32_t> place_in_segment(batch.tokens.size());
  for_each_segment(batch, [&](int64_t, Rows segment) {
    std::iota(place_in_segment.begin() + segment.begin, place_in_segment.begin() + segment.end, 0);
  });
  for (int64_t step = 0; step < num_shards; ++step) {
    const int64_t other = (shard + num_shards - step) % num_shards;
    Segments segments;
    for_each_segment(batch, [&](int64_t sample, Rows segment) {
      const Rows mine = chunks.local_both(sample, shard, segment), theirs = chunks.local_both(sample, other, segment);
      if (other == shard) {
        segments.add(mine, theirs);
      } else if (other < shard) {  // their second chunk is behind all of mine
        segments.add(mine, chunks.local_first(sample, other, segment));
      } else {  // my first chunk is before all of theirs
        segments.add(chunks.local_second(sample, shard, segment), theirs);
      }
    });
    TokenLayout& call = cut.calls.emplace_back(tokens);
    segments.place(ctx, call);
    call.key_positions = from_host(ctx, picked<int32_t>(place_in_segment, rows_of_shard(batch, other, num_shards)));
  }
}

// All tokens, some heads.
void plan_exchanged(ExecContext& ctx, const MicroBatch& batch, std::span<const int64_t> token_ids, SequenceCut& cut) {
  Segments segments;
  for_each_segment(batch, [&](int64_t, Rows segment) { segments.add(segment, segment); });
  TokenLayout& call = cut.calls.emplace_back();
  call.num_tokens = cut.num_tokens;
  segments.place(ctx, call);
  call.uniform = call.num_segments * call.max_query_length == call.num_tokens;
  call.token_ids = from_host(ctx, std::vector<int64_t>(token_ids.begin(), token_ids.end()));
}

}  // namespace

std::vector<int32_t> rows_of_shard(const MicroBatch& batch, int64_t shard_index, int64_t num_shards) {
  const Chunks chunks(batch, num_shards);
  std::vector<int32_t> rows;
  for (int64_t sample = 0; sample < batch.micro_batch_size; ++sample)
    for (const Rows chunk : {chunks.first(sample, shard_index), chunks.second(sample, shard_index)})
      for (int32_t row = chunk.begin; row < chunk.end; ++row) rows.push_back(row);
  return rows;
}

TokenLayout place_shard(ExecContext& ctx, const MicroBatch& batch, std::span<const int64_t> token_ids,
                        int64_t shard_index, int64_t num_shards, ContextParallelComm comm) {
  const Chunks chunks(batch, num_shards);
  const std::vector<int32_t> rows = rows_of_shard(batch, shard_index, num_shards);
  TokenLayout tokens;
  tokens.num_tokens = static_cast<int64_t>(rows.size());
  tokens.ids = from_host(ctx, picked<int32_t>(batch.tokens, rows));
  tokens.labels = from_host(ctx, picked<int32_t>(batch.labels, rows));
  tokens.positions = from_host(ctx, picked<int32_t>(batch.positions, rows));
  tokens.token_ids = from_host(ctx, picked<int64_t>(token_ids, rows));

  auto cut = std::make_shared<SequenceCut>();
  cut->num_tokens = static_cast<int64_t>(batch.tokens.size());
  std::vector<int32_t> sequence_order, rank_order(batch.tokens.size());
  for (int64_t shard = 0; shard < num_shards; ++shard)
    for (const int32_t row : rows_of_shard(batch, shard, num_shards)) {
      rank_order[static_cast<size_t>(row)] = static_cast<int32_t>(sequence_order.size());
      sequence_order.push_back(row);
    }
  cut->sequence_order = from_host(ctx, sequence_order);
  cut->rank_order = from_host(ctx, rank_order);
  switch (comm) {
    case ContextParallelComm::all_gather:
      plan_gathered(ctx, batch, chunks, shard_index, tokens, *cut);
      break;
    case ContextParallelComm::p2p:
      plan_ring(ctx, batch, chunks, shard_index, num_shards, tokens, *cut);
      break;
    case ContextParallelComm::a2a:
      plan_exchanged(ctx, batch, token_ids, *cut);
      break;
  }
  tokens.cut = std::move(cut);
  return tokens;
}

}  // namespace nemo
