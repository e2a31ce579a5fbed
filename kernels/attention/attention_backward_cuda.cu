#include "kernels/attention/attention_tiles.cuh"

namespace nemo::kernels {
namespace {

// With s the scaled (and capped) score, p = exp(s - lse) and f dropout's factor:
//   dv_j = sum_i p f dout_i    dp = f dout_i . v_j    ds = p (dp - delta_i)    delta_i = dout_i . out_i
//   dq_i = scale sum_j ds k_j  dk_j = scale sum_i ds q_i;  a soft-capped score multiplies ds by 1 - (s / cap)^2.
template <class T>
struct BackwardArgs {
  T *dq, *dk, *dv;
  const T *dout, *q, *k, *v, *out;
  const float* lse;
  float* delta;
  AttentionSegments segments;
  AttentionShape shape;
  AttentionGradStrides strides;
  AttentionDropout dropout;
  int num_tiles;
  bool packed;
};

constexpr int kDeltaWarps = 8;

// delta[head, token]: one warp each.
template <class T>
__global__ void __launch_bounds__(kDeltaWarps * 32) attention_delta_kernel(BackwardArgs<T> args) {
  const AttentionShape& shape = args.shape;
  const int64_t item = static_cast<int64_t>(blockIdx.x) * kDeltaWarps + threadIdx.x / 32;
  if (item >= shape.query_tokens * shape.num_heads) return;
  const int64_t token = item / shape.num_heads, head = item - token * shape.num_heads;
  const T* dout = args.dout + token * args.strides.dout_stride + head * shape.head_size;
  const T* out = args.out + token * shape.out_stride + head * shape.head_size;
  float sum = 0;
  for (int d = threadIdx.x % 32; d < shape.head_size; d += 32) sum += static_cast<float>(dout[d]) * static_cast<float>(out[d]);
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, distance);
  if (threadIdx.x % 32 == 0) args.delta[head * shape.query_tokens + token] = sum;
}

// The probability of a visible pair and what multiplies (dp - delta) to give the gradient of the unscaled product q . k.
struct Probability { float p, slope; };
__device__ inline Probability probability(const AttentionShape& shape, float product, float lse) {
  const float score = scaled_score(shape, product), p = expf(score - lse);
  float slope = p * shape.scale;
  if (shape.softcap > 0.0f) slope *= 1.0f - (score / shape.softcap) * (score / shape.softcap);
  return {p, slope};
}

// One block: a tile of keys of one group of one segment; all queries that see them, of all heads of the group, go by.
// Score tiles stand [key][query] here. Shared memory: keys, values, queries, dout, one score tile, lse and delta of the queries.
template <int kTile, int kGroups, class T>
__global__ void __launch_bounds__(kAttentionThreads) attention_backward_keys_kernel(BackwardArgs<T> args) {
  constexpr int kRows = Tiles<kTile, kGroups>::kRows;
  const AttentionShape& shape = args.shape;
  const int64_t segment = blockIdx.x / args.num_tiles;
  const int tile = static_cast<int>(blockIdx.x % args.num_tiles), group = blockIdx.y;
  const SegmentPlace place = segment_place(args.segments, segment);
  const int first = tile * kTile, head_size = static_cast<int>(shape.head_size);
  if (first >= place.key_length) return;
  const int last = min(first + kTile, place.key_length);

  extern __shared__ float4 shared[];
  const int tile_floats = kTile * token_pitch(head_size);
  float* keys = reinterpret_cast<float*>(shared);
  float* values = keys + tile_floats;
  float* queries = values + tile_floats;
  float* douts = queries + tile_floats;
  float* scores = douts + tile_floats;
  float* query_lse = scores + kTile * Tiles<kTile, kGroups>::kScorePitch;
  float* query_delta = query_lse + kTile;

  const int64_t group_offset = static_cast<int64_t>(group) * head_size, key_token = place.key_begin + first;
  load_tile<kTile>(keys, args.k + key_token * shape.k_stride + group_offset, shape.k_stride, last - first, head_size, args.packed);
  load_tile<kTile>(values, args.v + key_token * shape.v_stride + group_offset, shape.v_stride, last - first, head_size, args.packed);

  float4 dk[kRows][kGroups], dv[kRows][kGroups];
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
#pragma unroll
    for (int g = 0; g < kGroups; ++g) dk[i][g] = dv[i][g] = make_float4(0, 0, 0, 0);
  }

  const int heads_per_group = static_cast<int>(shape.num_heads / shape.num_groups);
  const Range range = visible_queries(shape, place, first, last);
  for (int head = group * heads_per_group; head < (group + 1) * heads_per_group; ++head) {
    const int64_t head_offset = static_cast<int64_t>(head) * head_size;
    for (int query0 = range.begin / kTile * kTile; query0 < range.end; query0 += kTile) {
      const int valid = min(kTile, place.query_length - query0);
      const int64_t query_token = place.query_begin + query0;
      __syncthreads();  // the tiles before have been read
      load_tile<kTile>(queries, args.q + query_token * shape.q_stride + head_offset, shape.q_stride, valid, head_size, args.packed);
      load_tile<kTile>(douts, args.dout + query_token * args.strides.dout_stride + head_offset, args.strides.dout_stride, valid,
                       head_size, args.packed);
      const int thread = threadIdx.y * kSide + threadIdx.x;
      if (thread < kTile) {
        const int64_t place_in_rows = head * shape.query_tokens + query_token + thread;
        query_lse[thread] = thread < valid ? args.lse[place_in_rows] : 0.0f;
        query_delta[thread] = thread < valid ? args.delta[place_in_rows] : 0.0f;
      }
      __syncthreads();

      float product[kRows][kRows], dp[kRows][kRows];
      dot_tiles(product, keys, queries, head_size);
      dot_tiles(dp, values, douts, head_size);
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const int key = first + threadIdx.y + kSide * i;
#pragma unroll
        for (int j = 0; j < kRows; ++j) {
          const int column = threadIdx.x + kSide * j, query = query0 + column;
          float dropped = 0, ds = 0;
          if (is_visible(shape, place, query, key)) {
            const Probability pair = probability(shape, product[i][j], query_lse[column]);
            const float factor = dropout_factor(shape, args.dropout, place, query, head, key);
            dropped = pair.p * factor;
            ds = pair.slope * (dp[i][j] * factor - query_delta[column]);
          }
          product[i][j] = dropped;
          dp[i][j] = ds;
        }
      }
      store_scores<kTile>(scores, product);
      __syncthreads();
      add_product<kTile, kGroups>(dv, scores, douts, head_size);
      __syncthreads();  // the probabilities have been read
      store_scores<kTile>(scores, dp);
      __syncthreads();
      add_product<kTile, kGroups>(dk, scores, queries, head_size);
    }
  }

#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const int key = first + threadIdx.y + kSide * i;
    if (key >= last) continue;
    const int64_t token = place.key_begin + key;
#pragma unroll
    for (int g = 0; g < kGroups; ++g) {
      store_group(args.dk + token * args.strides.dk_stride + group_offset, g, dk[i][g], head_size);
      store_group(args.dv + token * args.strides.dv_stride + group_offset, g, dv[i][g], head_size);
    }
  }
}

// One block: a tile of queries of one head of one segment; the keys it sees go by.
// Shared memory: queries, dout, keys, values, one score tile.
template <int kTile, int kGroups, class T>
__global__ void __launch_bounds__(kAttentionThreads) attention_backward_queries_kernel(BackwardArgs<T> args) {
  constexpr int kRows = Tiles<kTile, kGroups>::kRows;
  const AttentionShape& shape = args.shape;
  const int64_t segment = blockIdx.x / args.num_tiles;
  const int tile = args.num_tiles - 1 - static_cast<int>(blockIdx.x % args.num_tiles);  // causal: the longest first
  const int head = blockIdx.y, group = static_cast<int>(head / (shape.num_heads / shape.num_groups));
  const SegmentPlace place = segment_place(args.segments, segment);
  const int first = tile * kTile, head_size = static_cast<int>(shape.head_size);
  if (first >= place.query_length) return;
  const int last = min(first + kTile, place.query_length);

  extern __shared__ float4 shared[];
  const int tile_floats = kTile * token_pitch(head_size);
  float* queries = reinterpret_cast<float*>(shared);
  float* douts = queries + tile_floats;
  float* keys = douts + tile_floats;
  float* values = keys + tile_floats;
  float* scores = values + tile_floats;

  const int64_t head_offset = static_cast<int64_t>(head) * head_size, group_offset = static_cast<int64_t>(group) * head_size;
  const int64_t query_token = place.query_begin + first;
  load_tile<kTile>(queries, args.q + query_token * shape.q_stride + head_offset, shape.q_stride, last - first, head_size, args.packed);
  load_tile<kTile>(douts, args.dout + query_token * args.strides.dout_stride + head_offset, args.strides.dout_stride, last - first,
                   head_size, args.packed);

  float lse[kRows], delta[kRows];
  float4 dq[kRows][kGroups];
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const int query = first + threadIdx.y + kSide * i;
    const int64_t place_in_rows = head * shape.query_tokens + place.query_begin + query;
    lse[i] = query < last ? args.lse[place_in_rows] : 0.0f;
    delta[i] = query < last ? args.delta[place_in_rows] : 0.0f;
#pragma unroll
    for (int g = 0; g < kGroups; ++g) dq[i][g] = make_float4(0, 0, 0, 0);
  }

  const Range range = visible_keys(shape, place, first, last);
  for (int key0 = range.begin / kTile * kTile; key0 < range.end; key0 += kTile) {
    const int valid = min(kTile, place.key_length - key0);
    const int64_t key_token = place.key_begin + key0;
    __syncthreads();  // the tiles before have been read
    load_tile<kTile>(keys, args.k + key_token * shape.k_stride + group_offset, shape.k_stride, valid, head_size, args.packed);
    load_tile<kTile>(values, args.v + key_token * shape.v_stride + group_offset, shape.v_stride, valid, head_size, args.packed);
    __syncthreads();

    float product[kRows][kRows], dp[kRows][kRows];
    dot_tiles(product, queries, keys, head_size);
    dot_tiles(dp, douts, values, head_size);
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int query = first + threadIdx.y + kSide * i;
#pragma unroll
      for (int j = 0; j < kRows; ++j) {
        const int key = key0 + threadIdx.x + kSide * j;
        float ds = 0;
        if (is_visible(shape, place, query, key)) {
          const Probability pair = probability(shape, product[i][j], lse[i]);
          const float factor = dropout_factor(shape, args.dropout, place, query, head, key);
          ds = pair.slope * (dp[i][j] * factor - delta[i]);
        }
        dp[i][j] = ds;
      }
    }
    store_scores<kTile>(scores, dp);
    __syncthreads();
    add_product<kTile, kGroups>(dq, scores, keys, head_size);
  }

#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const int query = first + threadIdx.y + kSide * i;
    if (query >= last) continue;
    T* target = args.dq + (place.query_begin + query) * args.strides.dq_stride + head_offset;
#pragma unroll
    for (int g = 0; g < kGroups; ++g) store_group(target, g, dq[i][g], head_size);
  }
}

template <int kTile, int kGroups, class T>
void launch_backward(BackwardArgs<T> args, cudaStream_t stream) {
  const AttentionShape& shape = args.shape;
  const dim3 block(kSide, kSide);
  const size_t floats = 4 * kTile * token_pitch(static_cast<int>(shape.head_size)) + kTile * Tiles<kTile, kGroups>::kScorePitch;
  const size_t query_bytes = floats * sizeof(float), key_bytes = (floats + 2 * kTile) * sizeof(float);

  const auto keys_kernel = attention_backward_keys_kernel<kTile, kGroups, T>;
  args.num_tiles = static_cast<int>((shape.max_key_length + kTile - 1) / kTile);
  if (args.num_tiles > 0) {
    allow_shared_bytes(keys_kernel, key_bytes, "attention_backward");
    const dim3 grid(static_cast<unsigned>(shape.num_segments * args.num_tiles), static_cast<unsigned>(shape.num_groups));
    keys_kernel<<<grid, block, key_bytes, stream>>>(args);
    check_launch("attention_backward");
  }

  const auto queries_kernel = attention_backward_queries_kernel<kTile, kGroups, T>;
  args.num_tiles = static_cast<int>((shape.max_query_length + kTile - 1) / kTile);
  allow_shared_bytes(queries_kernel, query_bytes, "attention_backward");
  const dim3 grid(static_cast<unsigned>(shape.num_segments * args.num_tiles), static_cast<unsigned>(shape.num_heads));
  queries_kernel<<<grid, block, query_bytes, stream>>>(args);
  check_launch("attention_backward");
}

}  // namespace

template <class T>
void attention_backward_cuda(T* dq, T* dk, T* dv, const T* dout, const T* q, const T* k, const T* v, const T* out, const float* lse,
                             float* delta, const AttentionSegments& segments, const AttentionShape& shape,
                             const AttentionGradStrides& strides, const AttentionDropout& dropout, cudaStream_t stream) {
  check_head_size(shape, "attention_backward");
  if (shape.num_segments == 0 || shape.max_query_length == 0 || shape.num_heads == 0) return;
  const bool packed = pack_aligned(q) && pack_aligned(k) && pack_aligned(v) && pack_aligned(dout) && pack_stride(shape.head_size) &&
                      pack_stride(shape.q_stride) && pack_stride(shape.k_stride) && pack_stride(shape.v_stride) &&
                      pack_stride(strides.dout_stride);
  const BackwardArgs<T> args{dq, dk, dv, dout, q, k, v, out, lse, delta, segments, shape, strides, dropout, 0, packed};
  const int64_t items = shape.query_tokens * shape.num_heads;
  attention_delta_kernel<<<static_cast<unsigned>((items + kDeltaWarps - 1) / kDeltaWarps), kDeltaWarps * 32, 0, stream>>>(args);
  check_launch("attention_backward");
  // Tiles shrink as heads grow, so that four of them fit in the 99 KiB that the smallest supported chips give a block.
  if (shape.head_size <= Tiles<64, 1>::kMaxHeadSize) {
    launch_backward<64, 1>(args, stream);
  } else if (shape.head_size <= Tiles<32, 2>::kMaxHeadSize) {
    launch_backward<32, 2>(args, stream);
  } else {
    launch_backward<16, 4>(args, stream);
  }
}

template void attention_backward_cuda(float*, float*, float*, const float*, const float*, const float*, const float*, const float*,
                                      const float*, float*, const AttentionSegments&, const AttentionShape&,
                                      const AttentionGradStrides&, const AttentionDropout&, cudaStream_t);
template void attention_backward_cuda(bf16*, bf16*, bf16*, const bf16*, const bf16*, const bf16*, const bf16*, const bf16*,
                                      const float*, float*, const AttentionSegments&, const AttentionShape&,
                                      const AttentionGradStrides&, const AttentionDropout&, cudaStream_t);

}  // namespace nemo::kernels
