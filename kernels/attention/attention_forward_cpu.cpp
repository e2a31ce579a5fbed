#include <cmath>

#include "kernels/attention/attention.h"
#include "kernels/attention/attention_tiles.h"
#include "kernels/base/parallel_for.h"

namespace nemo::kernels {

// One work item is a tile of queries of one head. It walks over tiles of keys, keeping out and the sum of exponentials
// relative to the largest score so far (Dao 2023, algorithm 1).
template <class T>
void attention_forward_cpu(T* out, float* lse, const T* q, const T* k, const T* v, const AttentionSegments& segments,
                           const AttentionShape& shape, const AttentionDropout& dropout) {
  const int64_t head_size = shape.head_size, width = round_up(head_size, 2 * kLanes);
  const int64_t heads_per_group = shape.num_heads / shape.num_groups, tiles = (shape.max_query_length + kTile - 1) / kTile;
  parallel_for(shape.num_segments * shape.num_heads * tiles, 1, [&](int64_t item, int64_t) {
    const int64_t head = item / tiles % shape.num_heads, group = head / heads_per_group;
    const Segment segment(segments, item / tiles / shape.num_heads);
    if (item % tiles * kTile >= segment.q_length) return;
    const QueryTile tile(segment, shape, item % tiles);
    const int64_t token = segment.q_begin + tile.query;

    TileBuffer buffer((2 * kTile + 4 * width) * kTile);
    float *queries = buffer.take(kTile * width), *sum = buffer.take(kTile * width), *p = buffer.take(kTile * kTile);
    float *keep = buffer.take(kTile * kTile), *k_copy = buffer.take(kTile * width), *v_copy = buffer.take(kTile * width);
    alignas(64) float largest[kTile], total[kTile], rescale[kTile];
    std::fill(largest, largest + kTile, -INFINITY);
    std::fill(total, total + kTile, 0.0f);
    std::fill(sum, sum + kTile * width, 0.0f);
    transpose_queries(queries, q + token * shape.q_stride + head * head_size, shape.q_stride, head_size, shape.scale, tile);

    for (int64_t key = tile.first_key; key < tile.end_key; key += kTile) {
      const int64_t keys = std::min(kTile, tile.end_key - key), at = segment.k_begin + key;
      const Rows k_rows = rows_of(k + at * shape.k_stride + group * head_size, shape.k_stride, keys, head_size, k_copy);
      const Rows v_rows = rows_of(v + at * shape.v_stride + group * head_size, shape.v_stride, keys, head_size, v_copy);
      score_tile(p, queries, k_rows, keys, tile, shape);

      std::copy(largest, largest + kTile, rescale);
      for (int64_t j = 0; j < keys; ++j) {
        const auto here = static_cast<int32_t>(key + j);
        for (int64_t i = 0; i < tile.lanes; ++i) {
          const float score = (here >= tile.first[i]) & (here < tile.end[i]) ? p[j * kTile + i] : -INFINITY;
          p[j * kTile + i] = score;
          largest[i] = score > largest[i] ? score : largest[i];
        }
      }
      for (int64_t i = 0; i < tile.lanes; ++i) {  // a lane that has seen nothing yet keeps its zeros: e^(-inf - 0)
        rescale[i] = fast_exp(rescale[i] - (largest[i] == -INFINITY ? 0.0f : largest[i]));
        total[i] *= rescale[i];
      }
      for (int64_t j = 0; j < keys; ++j) {
        for (int64_t i = 0; i < tile.lanes; ++i) {
          const float weight = fast_exp(p[j * kTile + i] - (largest[i] == -INFINITY ? 0.0f : largest[i]));
          p[j * kTile + i] = weight;
          total[i] += weight;
        }
      }
      if (shape.dropout > 0) {
        keep_tile(keep, segment, tile, key, keys, head, shape, dropout);
        multiply_tile(p, keep, keys, tile);
      }
      if (key > tile.first_key)
        for (int64_t i = 0; i < tile.queries; ++i)
          for (int64_t d = 0; d < width; ++d) sum[i * width + d] *= rescale[i];
      tile_gemm(sum, width, {p, 1, kTile}, v_rows.data, v_rows.stride, tile.queries, width, keys, true);
    }

    for (int64_t i = 0; i < tile.queries; ++i) {
      const float inverse = total[i] == 0.0f ? 0.0f : 1.0f / total[i];  // a query that sees no key gives zeros
      T* row = out + (token + i) * shape.out_stride + head * head_size;
      for (int64_t d = 0; d < head_size; ++d) row[d] = static_cast<T>(sum[i * width + d] * inverse);
      lse[head * shape.query_tokens + token + i] = largest[i] + std::log(total[i]);
    }
  });
}

#define NEMO_INSTANTIATE(T)                                                                                                     \
  template void attention_forward_cpu(T*, float*, const T*, const T*, const T*, const AttentionSegments&, const AttentionShape&, \
                                      const AttentionDropout&);
NEMO_INSTANTIATE(float)
NEMO_INSTANTIATE(bf16)
#undef NEMO_INSTANTIATE

}  // namespace nemo::kernels
