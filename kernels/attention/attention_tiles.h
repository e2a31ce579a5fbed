// What the CPU's attention forward and backward share: segments, tiles of 64 queries by 64 keys, the mask, dropout.
// Not here: the two passes (attention_forward_cpu.cpp, attention_backward_cpu.cpp), the CUDA tiles.
#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <type_traits>

#include "kernels/attention/attention.h"
#include "kernels/base/fast_math.h"
#include "kernels/base/tile_gemm.h"

namespace nemo::kernels {

// Scores are kept transposed, [key, query]: queries lie along the lanes, so maxima and sums over keys are vertical, keys
// and values are read where they are, and only the 64 queries of a tile are ever transposed.
inline constexpr int64_t kTile = 64;

inline int64_t round_up(int64_t count, int64_t unit) { return (count + unit - 1) / unit * unit; }

struct Segment {
  int64_t q_begin, q_length, k_begin, k_length;
  Segment(const AttentionSegments& s, int64_t i)
      : q_begin(s.q_begin[i]), q_length(s.q_end[i] - q_begin), k_begin(s.k_begin[i]), k_length(s.k_end[i] - k_begin) {}
};

// Queries [query, query + queries) of a segment, and for each lane the keys [first, end) it sees. Lanes beyond the last
// query see nothing.
struct QueryTile {
  int64_t query, queries, lanes;        // lanes: queries rounded up to what tile_gemm takes
  int64_t first_key, end_key;           // what any of them sees
  alignas(64) int32_t first[kTile], end[kTile];

  QueryTile(const Segment& segment, const AttentionShape& shape, int64_t index)
      : query(index * kTile), queries(std::min(kTile, segment.q_length - query)), lanes(round_up(queries, 2 * kLanes)),
        first_key(segment.k_length), end_key(0) {
    for (int64_t i = 0; i < kTile; ++i) {
      const int64_t position = query + i + segment.k_length - segment.q_length;
      const int64_t from = shape.window > 0 ? std::clamp<int64_t>(position - shape.window + 1, 0, segment.k_length) : 0;
      const int64_t to = shape.causal ? std::clamp<int64_t>(position + 1, 0, segment.k_length) : segment.k_length;
      first[i] = static_cast<int32_t>(i < queries ? from : 0);
      end[i] = static_cast<int32_t>(i < queries ? to : 0);
      if (first[i] >= end[i]) continue;
      first_key = std::min(first_key, from);
      end_key = std::max(end_key, to);
    }
  }
};

// fp32 scratch, aligned to cache lines; grown piece by piece by take().
class TileBuffer {
 public:
  explicit TileBuffer(int64_t floats) : data_(static_cast<float*>(operator new(floats * sizeof(float), kAlign))) {}
  float* take(int64_t floats) {
    float* piece = data_.get() + used_;
    used_ += floats;
    return piece;
  }

 private:
  static constexpr std::align_val_t kAlign{64};
  struct Free { void operator()(float* p) const noexcept { operator delete(p, kAlign); } };
  std::unique_ptr<float, Free> data_;
  int64_t used_ = 0;
};

// Rows of one head as fp32 with the width tile_gemm takes: in place where they already are so, else a copy in `buffer`.
struct Rows { const float* data; int64_t stride; };
template <class T>
Rows rows_of(const T* x, int64_t stride, int64_t rows, int64_t head_size, float* buffer) {
  if constexpr (std::is_same_v<T, float>) {
    if (head_size % (2 * kLanes) == 0) return {x, stride};
  }
  const int64_t width = round_up(head_size, 2 * kLanes);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t d = 0; d < head_size; ++d) buffer[r * width + d] = static_cast<float>(x[r * stride + d]);
    std::fill(buffer + r * width + head_size, buffer + (r + 1) * width, 0.0f);
  }
  return {buffer, width};
}

// to[d, i] = scale * x[i, d] for the lanes of a tile; lanes without a query are zero.
template <class T>
void transpose_queries(float* to, const T* x, int64_t stride, int64_t head_size, float scale, const QueryTile& tile) {
  for (int64_t d = 0; d < head_size; ++d) {
    for (int64_t i = 0; i < tile.queries; ++i) to[d * kTile + i] = scale * static_cast<float>(x[i * stride + d]);
    std::fill(to + d * kTile + tile.queries, to + d * kTile + tile.lanes, 0.0f);
  }
}

// scores[j, i] = softcap(q_i . k_j), unmasked, for keys [key, key + keys); the queries come scaled and transposed.
inline void score_tile(float* scores, const float* queries, Rows k, int64_t keys, const QueryTile& tile, const AttentionShape& shape) {
  tile_gemm(scores, kTile, {k.data, k.stride, 1}, queries, kTile, keys, tile.lanes, shape.head_size, false);
  if (shape.softcap <= 0) return;
  const float inverse = 1.0f / shape.softcap;
  for (int64_t j = 0; j < keys; ++j)
    for (int64_t i = 0; i < tile.lanes; ++i) scores[j * kTile + i] = shape.softcap * fast_tanh(scores[j * kTile + i] * inverse);
}

// keep[j, i] = 1 / (1 - rate), or 0 where the element is dropped.
inline void keep_tile(float* keep, const Segment& segment, const QueryTile& tile, int64_t key, int64_t keys, int64_t head,
                      const AttentionShape& shape, const AttentionDropout& dropout) {
  const int64_t total_heads = shape.total_heads == 0 ? shape.num_heads : shape.total_heads;
  const float kept = 1.0f / (1.0f - shape.dropout);
  const auto step = static_cast<uint64_t>(dropout.state->step);
  for (int64_t i = 0; i < tile.lanes; ++i) {
    const int64_t token = i < tile.queries ? dropout.token_ids[segment.q_begin + tile.query + i] : 0;
    const uint64_t first = static_cast<uint64_t>(token * total_heads + shape.first_head + head) << 20;
    for (int64_t j = 0; j < keys; ++j) {
      const int64_t position = dropout.key_positions != nullptr ? dropout.key_positions[segment.k_begin + key + j] : key + j;
      keep[j * kTile + i] = uniform(philox(dropout.key, step, first + static_cast<uint64_t>(position)).x) < shape.dropout ? 0.0f : kept;
    }
  }
}

inline void multiply_tile(float* x, const float* factor, int64_t keys, const QueryTile& tile) {
  for (int64_t j = 0; j < keys; ++j)
    for (int64_t i = 0; i < tile.lanes; ++i) x[j * kTile + i] *= factor[j * kTile + i];
}

}  // namespace nemo::kernels
