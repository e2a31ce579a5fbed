#include "kernels/attention/attention_tiles.cuh"

namespace nemo::kernels {
namespace {

// One block: a tile of queries of one head of one segment. Keys go by in tiles; the softmax is kept running (maximum, sum of
// exponentials, unnormalised output), as in Dao 2023, arXiv:2307.08691.
// Shared memory: queries, keys and then values in the same place, probabilities.
template <int kTile, int kGroups, class T>
__global__ void __launch_bounds__(kAttentionThreads)
    attention_forward_kernel(T* out, float* lse, const T* q, const T* k, const T* v, AttentionSegments segments,
                             AttentionShape shape, AttentionDropout dropout, int num_tiles, bool packed) {
  constexpr int kRows = Tiles<kTile, kGroups>::kRows;
  const int64_t segment = blockIdx.x / num_tiles;
  const int tile = num_tiles - 1 - static_cast<int>(blockIdx.x % num_tiles);  // causal: the longest first
  const int head = blockIdx.y, group = static_cast<int>(head / (shape.num_heads / shape.num_groups));
  const SegmentPlace place = segment_place(segments, segment);
  const int first = tile * kTile, head_size = static_cast<int>(shape.head_size);
  if (first >= place.query_length) return;
  const int last = min(first + kTile, place.query_length);

  extern __shared__ float4 shared[];
  const int tile_floats = kTile * token_pitch(head_size);
  float* queries = reinterpret_cast<float*>(shared);
  float* tokens = queries + tile_floats;
  float* probabilities = tokens + tile_floats;

  const int64_t head_offset = static_cast<int64_t>(head) * head_size, group_offset = static_cast<int64_t>(group) * head_size;
  load_tile<kTile>(queries, q + (place.query_begin + first) * shape.q_stride + head_offset, shape.q_stride, last - first, head_size,
                   packed);

  float max_score[kRows], sum[kRows];
  float4 output[kRows][kGroups];
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    max_score[i] = -INFINITY;
    sum[i] = 0;
#pragma unroll
    for (int g = 0; g < kGroups; ++g) output[i][g] = make_float4(0, 0, 0, 0);
  }

  const Range range = visible_keys(shape, place, first, last);
  for (int key0 = range.begin / kTile * kTile; key0 < range.end; key0 += kTile) {
    const int valid = min(kTile, place.key_length - key0);
    __syncthreads();  // the values before have been read
    load_tile<kTile>(tokens, k + (place.key_begin + key0) * shape.k_stride + group_offset, shape.k_stride, valid, head_size, packed);
    __syncthreads();
    float score[kRows][kRows];
    dot_tiles(score, queries, tokens, head_size);
    __syncthreads();  // the keys have been read
    load_tile<kTile>(tokens, v + (place.key_begin + key0) * shape.v_stride + group_offset, shape.v_stride, valid, head_size, packed);

#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int query = first + threadIdx.y + kSide * i;
      float row_max = max_score[i];
#pragma unroll
      for (int j = 0; j < kRows; ++j) {
        const int key = key0 + threadIdx.x + kSide * j;
        score[i][j] = is_visible(shape, place, query, key) ? scaled_score(shape, score[i][j]) : -INFINITY;
        row_max = fmaxf(row_max, score[i][j]);
      }
      // The 16 threads of a row are half a warp.
#pragma unroll
      for (int distance = kSide / 2; distance > 0; distance /= 2) {
        row_max = fmaxf(row_max, __shfl_xor_sync(0xffffffffu, row_max, distance));
      }
      const float shift = row_max == -INFINITY ? 0.0f : row_max;  // a row that has seen no key yet
      const float rescale = expf(max_score[i] - shift);
      float added = 0;
#pragma unroll
      for (int j = 0; j < kRows; ++j) {
        const int key = key0 + threadIdx.x + kSide * j;
        float p = expf(score[i][j] - shift);
        added += p;  // the softmax is over all keys; dropout comes after it
        if (p > 0.0f && shape.dropout > 0.0f) p *= dropout_factor(shape, dropout, place, query, head, key);
        score[i][j] = p;
      }
#pragma unroll
      for (int distance = kSide / 2; distance > 0; distance /= 2) added += __shfl_xor_sync(0xffffffffu, added, distance);
      sum[i] = sum[i] * rescale + added;
      max_score[i] = row_max;
#pragma unroll
      for (int g = 0; g < kGroups; ++g) {
        output[i][g].x *= rescale, output[i][g].y *= rescale, output[i][g].z *= rescale, output[i][g].w *= rescale;
      }
    }
    store_scores<kTile>(probabilities, score);
    __syncthreads();
    add_product<kTile, kGroups>(output, probabilities, tokens, head_size);
  }

#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const int query = first + threadIdx.y + kSide * i;
    if (query >= last) continue;
    const int64_t token = place.query_begin + query;
    const float inverse = sum[i] > 0.0f ? 1.0f / sum[i] : sum[i];  // no key: zeros; NaN stays
    if (threadIdx.x == 0) lse[head * shape.query_tokens + token] = max_score[i] + logf(sum[i]);
    T* target = out + token * shape.out_stride + head_offset;
#pragma unroll
    for (int g = 0; g < kGroups; ++g) {
      const float4 o = output[i][g];
      store_group(target, g, make_float4(o.x * inverse, o.y * inverse, o.z * inverse, o.w * inverse), head_size);
    }
  }
}

template <int kTile, int kGroups, class T>
void launch_forward(T* out, float* lse, const T* q, const T* k, const T* v, const AttentionSegments& segments,
                    const AttentionShape& shape, const AttentionDropout& dropout, bool packed, cudaStream_t stream) {
  const auto kernel = attention_forward_kernel<kTile, kGroups, T>;
  const size_t floats = 2 * kTile * token_pitch(static_cast<int>(shape.head_size)) + kTile * Tiles<kTile, kGroups>::kScorePitch;
  allow_shared_bytes(kernel, floats * sizeof(float), "attention_forward");
  const int num_tiles = static_cast<int>((shape.max_query_length + kTile - 1) / kTile);
  const dim3 grid(static_cast<unsigned>(shape.num_segments * num_tiles), static_cast<unsigned>(shape.num_heads));
  kernel<<<grid, dim3(kSide, kSide), floats * sizeof(float), stream>>>(out, lse, q, k, v, segments, shape, dropout, num_tiles,
                                                                       packed);
  check_launch("attention_forward");
}

}  // namespace

template <class T>
void attention_forward_cuda(T* out, float* lse, const T* q, const T* k, const T* v, const AttentionSegments& segments,
                            const AttentionShape& shape, const AttentionDropout& dropout, cudaStream_t stream) {
  check_head_size(shape, "attention_forward");
  if (shape.num_segments == 0 || shape.max_query_length == 0 || shape.num_heads == 0) return;
  const bool packed = pack_aligned(q) && pack_aligned(k) && pack_aligned(v) && pack_stride(shape.head_size) &&
                      pack_stride(shape.q_stride) && pack_stride(shape.k_stride) && pack_stride(shape.v_stride);
  if (shape.head_size <= Tiles<64, 1>::kMaxHeadSize) {
    launch_forward<64, 1>(out, lse, q, k, v, segments, shape, dropout, packed, stream);
  } else if (shape.head_size <= Tiles<64, 2>::kMaxHeadSize) {
    launch_forward<64, 2>(out, lse, q, k, v, segments, shape, dropout, packed, stream);
  } else {
    launch_forward<32, 4>(out, lse, q, k, v, segments, shape, dropout, packed, stream);
  }
}

template void attention_forward_cuda(float*, float*, const float*, const float*, const float*, const AttentionSegments&,
                                     const AttentionShape&, const AttentionDropout&, cudaStream_t);
template void attention_forward_cuda(bf16*, float*, const bf16*, const bf16*, const bf16*, const AttentionSegments&,
                                     const AttentionShape&, const AttentionDropout&, cudaStream_t);

}  // namespace nemo::kernels
