#include <cmath>

#include "kernels/attention/attention.h"
#include "kernels/attention/attention_tiles.h"
#include "kernels/base/parallel_for.h"

namespace nemo::kernels {
namespace {

// Tiles of one (query tile, key tile) pair.
struct PairTiles { float *p, *ds, *keep; };

// From scores and dp[j, i] = dout_i . v_j: p (as it multiplied v, dropout included) and ds = dscore / d(q . k), in place.
void softmax_backward_tile(PairTiles t, const float* lse, const float* delta, const QueryTile& tile, int64_t key, int64_t keys,
                           const AttentionShape& shape) {
  if (shape.dropout > 0) multiply_tile(t.ds, t.keep, keys, tile);
  const float inverse_cap = shape.softcap > 0 ? 1.0f / shape.softcap : 0.0f;
  for (int64_t j = 0; j < keys; ++j) {
    const auto here = static_cast<int32_t>(key + j);
    float *p = t.p + j * kTile, *ds = t.ds + j * kTile;
    for (int64_t i = 0; i < tile.lanes; ++i) {
      const float score = p[i], capped = score * inverse_cap;
      const float weight = fast_exp(score - lse[i]);
      const float seen = (here >= tile.first[i]) & (here < tile.end[i]) ? weight : 0.0f;
      p[i] = seen;
      ds[i] = seen * (ds[i] - delta[i]) * (shape.scale * (1.0f - capped * capped));
    }
  }
  if (shape.dropout > 0) multiply_tile(t.p, t.keep, keys, tile);
}

}  // namespace

// One work item is a group of one segment: it alone adds to that group's keys and values, in a fixed order.
template <class T>
void attention_backward_cpu(T* dq, T* dk, T* dv, const T* dout, const T* q, const T* k, const T* v, const T* out, const float* lse,
                            float* delta, const AttentionSegments& segments, const AttentionShape& shape,
                            const AttentionGradStrides& strides, const AttentionDropout& dropout) {
  const int64_t head_size = shape.head_size, width = round_up(head_size, 2 * kLanes), heads_per_group = shape.num_heads / shape.num_groups;
  parallel_for(shape.num_segments * shape.num_groups, 1, [&](int64_t item, int64_t) {
    const int64_t group = item % shape.num_groups;
    const Segment segment(segments, item / shape.num_groups);
    if (segment.q_length <= 0) return;
    const int64_t key_floats = segment.k_length * width;
    TileBuffer buffer(4 * key_floats + (5 * width + 3 * kTile) * kTile);
    float *dk_sum = buffer.take(key_floats), *dv_sum = buffer.take(key_floats);
    std::fill(dk_sum, dk_sum + 2 * key_floats, 0.0f);
    const Rows k_rows = rows_of(k + segment.k_begin * shape.k_stride + group * head_size, shape.k_stride, segment.k_length, head_size,
                                buffer.take(key_floats));
    const Rows v_rows = rows_of(v + segment.k_begin * shape.v_stride + group * head_size, shape.v_stride, segment.k_length, head_size,
                                buffer.take(key_floats));
    float *q_transposed = buffer.take(kTile * width), *g_transposed = buffer.take(kTile * width), *dq_sum = buffer.take(kTile * width);
    float *q_copy = buffer.take(kTile * width), *g_copy = buffer.take(kTile * width);
    const PairTiles pair{buffer.take(kTile * kTile), buffer.take(kTile * kTile), buffer.take(kTile * kTile)};
    alignas(64) float tile_lse[kTile], tile_delta[kTile];

    for (int64_t head = group * heads_per_group; head < (group + 1) * heads_per_group; ++head) {
      for (int64_t index = 0; index * kTile < segment.q_length; ++index) {
        const QueryTile tile(segment, shape, index);
        const int64_t token = segment.q_begin + tile.query;
        const T *q_head = q + token * shape.q_stride + head * head_size, *g_head = dout + token * strides.dout_stride + head * head_size;
        transpose_queries(q_transposed, q_head, shape.q_stride, head_size, shape.scale, tile);
        transpose_queries(g_transposed, g_head, strides.dout_stride, head_size, 1.0f, tile);
        const Rows q_rows = rows_of(q_head, shape.q_stride, tile.queries, head_size, q_copy);
        const Rows g_rows = rows_of(g_head, strides.dout_stride, tile.queries, head_size, g_copy);
        std::fill(tile_lse, tile_lse + kTile, INFINITY);  // e^(score - inf) = 0 where there is no query, or none it sees
        std::fill(tile_delta, tile_delta + kTile, 0.0f);
        for (int64_t i = 0; i < tile.queries; ++i) {
          const T *g = g_head + i * strides.dout_stride, *y = out + (token + i) * shape.out_stride + head * head_size;
          for (int64_t d = 0; d < head_size; ++d) tile_delta[i] += static_cast<float>(g[d]) * static_cast<float>(y[d]);
          const int64_t at = head * shape.query_tokens + token + i;
          if (lse[at] != -INFINITY) tile_lse[i] = lse[at];
          delta[at] = tile_delta[i];
        }
        std::fill(dq_sum, dq_sum + kTile * width, 0.0f);

        for (int64_t key = tile.first_key; key < tile.end_key; key += kTile) {
          const int64_t keys = std::min(kTile, tile.end_key - key);
          const Rows k_tile{k_rows.data + key * k_rows.stride, k_rows.stride}, v_tile{v_rows.data + key * v_rows.stride, v_rows.stride};
          score_tile(pair.p, q_transposed, k_tile, keys, tile, shape);
          tile_gemm(pair.ds, kTile, {v_tile.data, v_tile.stride, 1}, g_transposed, kTile, keys, tile.lanes, head_size, false);
          if (shape.dropout > 0) keep_tile(pair.keep, segment, tile, key, keys, head, shape, dropout);
          softmax_backward_tile(pair, tile_lse, tile_delta, tile, key, keys, shape);
          tile_gemm(dv_sum + key * width, width, {pair.p, kTile, 1}, g_rows.data, g_rows.stride, keys, width, tile.queries, true);
          tile_gemm(dk_sum + key * width, width, {pair.ds, kTile, 1}, q_rows.data, q_rows.stride, keys, width, tile.queries, true);
          tile_gemm(dq_sum, width, {pair.ds, 1, kTile}, k_tile.data, k_tile.stride, tile.queries, width, keys, true);
        }
        for (int64_t i = 0; i < tile.queries; ++i)
          for (int64_t d = 0; d < head_size; ++d)
            dq[(token + i) * strides.dq_stride + head * head_size + d] = static_cast<T>(dq_sum[i * width + d]);
      }
    }
    for (int64_t j = 0; j < segment.k_length; ++j) {
      T *dk_row = dk + (segment.k_begin + j) * strides.dk_stride + group * head_size;
      T *dv_row = dv + (segment.k_begin + j) * strides.dv_stride + group * head_size;
      for (int64_t d = 0; d < head_size; ++d) {
        dk_row[d] = static_cast<T>(dk_sum[j * width + d]);
        dv_row[d] = static_cast<T>(dv_sum[j * width + d]);
      }
    }
  });
}

#define NEMO_INSTANTIATE(T)                                                                                                     \
  template void attention_backward_cpu(T*, T*, T*, const T*, const T*, const T*, const T*, const T*, const float*, float*,      \
                                       const AttentionSegments&, const AttentionShape&, const AttentionGradStrides&,            \
                                       const AttentionDropout&);
NEMO_INSTANTIATE(float)
NEMO_INSTANTIATE(bf16)
#undef NEMO_INSTANTIATE

}  // namespace nemo::kernels
