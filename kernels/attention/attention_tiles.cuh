// The pieces that the tiled attention kernels share: tiles in shared memory, products of tiles, the mask, dropout's draw.
// Not here: the passes (attention_forward_cuda.cu, attention_backward_cuda.cu).
#pragma once
#include <algorithm>

#include "kernels/attention/attention.h"
#include "kernels/base/cuda_check.h"
#include "kernels/base/pack.cuh"

namespace nemo::kernels {

// A block is 16 x 16 threads. A tile holds kTile tokens; thread (x, y) owns scores of rows y + 16 i and columns x + 16 j, and
// of a [kTile, head_size] result the rows y + 16 i and the groups of four columns x + 16 g.
inline constexpr int kSide = 16, kAttentionThreads = kSide * kSide;

template <int kTile, int kGroups>
struct Tiles {
  static constexpr int kRows = kTile / kSide;          // rows and score columns a thread owns
  static constexpr int kScorePitch = kTile + 4;        // floats between rows of a score tile
  static constexpr int kMaxHeadSize = kGroups * kSide * 4;
};

// Floats between the rows of a token tile: the head size rounded up to 8, and 4 more. A quarter of a warp then reads four
// floats each from eight consecutive rows without two of them meeting in a bank.
inline NEMO_HOST_DEVICE int token_pitch(int head_size) { return (head_size + 7) / 8 * 8 + 4; }

struct SegmentPlace {
  int64_t query_begin, key_begin;
  int query_length, key_length;
  int shift;  // query j of the segment stands at key position j + shift
};

__device__ inline SegmentPlace segment_place(const AttentionSegments& segments, int64_t segment) {
  SegmentPlace place;
  place.query_begin = segments.q_begin[segment];
  place.key_begin = segments.k_begin[segment];
  place.query_length = static_cast<int>(segments.q_end[segment] - place.query_begin);
  place.key_length = static_cast<int>(segments.k_end[segment] - place.key_begin);
  place.shift = place.key_length - place.query_length;
  return place;
}

// Copies `valid` tokens of one head, `stride` elements apart, into a tile of kTile rows, and zeros into the rest of it.
template <int kTile, class T>
__device__ inline void load_tile(float* tile, const T* tokens, int64_t stride, int valid, int head_size, bool packed) {
  const int thread = threadIdx.y * kSide + threadIdx.x, pitch = token_pitch(head_size);
  const int packs = (head_size + kPackSize - 1) / kPackSize;
  for (int item = thread; item < kTile * packs; item += kAttentionThreads) {
    const int row = item / packs, column = (item - row * packs) * kPackSize;
    float value[kPackSize] = {};
    if (row < valid) {
      const T* source = tokens + row * stride + column;
      if (packed) {
        load(value, source);
      } else {
#pragma unroll
        for (int j = 0; j < kPackSize; ++j) {
          if (column + j < head_size) value[j] = static_cast<float>(source[j]);
        }
      }
    }
    float4* target = reinterpret_cast<float4*>(tile + row * pitch + column);
    target[0] = make_float4(value[0], value[1], value[2], value[3]);
    target[1] = make_float4(value[4], value[5], value[6], value[7]);
  }
}

// score[i][j] = left[y + 16 i] . right[x + 16 j] over the head.
template <int kRows>
__device__ inline void dot_tiles(float (&score)[kRows][kRows], const float* left, const float* right, int head_size) {
  const int pitch = token_pitch(head_size), width = pitch - 4;
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
#pragma unroll
    for (int j = 0; j < kRows; ++j) score[i][j] = 0;
  }
  for (int d = 0; d < width; d += 4) {
    float4 a[kRows], b[kRows];
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      a[i] = *reinterpret_cast<const float4*>(left + (threadIdx.y + kSide * i) * pitch + d);
      b[i] = *reinterpret_cast<const float4*>(right + (threadIdx.x + kSide * i) * pitch + d);
    }
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int j = 0; j < kRows; ++j) {
        score[i][j] += a[i].x * b[j].x;
        score[i][j] += a[i].y * b[j].y;
        score[i][j] += a[i].z * b[j].z;
        score[i][j] += a[i].w * b[j].w;
      }
    }
  }
}

template <int kTile>
__device__ inline void store_scores(float* tile, const float (&score)[kTile / kSide][kTile / kSide]) {
#pragma unroll
  for (int i = 0; i < kTile / kSide; ++i) {
#pragma unroll
    for (int j = 0; j < kTile / kSide; ++j) tile[(threadIdx.y + kSide * i) * (kTile + 4) + threadIdx.x + kSide * j] = score[i][j];
  }
}

// sum[i][g] += scores[y + 16 i, :] times the four columns x + 16 g of the token tile.
template <int kTile, int kGroups>
__device__ inline void add_product(float4 (&sum)[kTile / kSide][kGroups], const float* scores, const float* tokens, int head_size) {
  constexpr int kRows = kTile / kSide;
  const int pitch = token_pitch(head_size), width = pitch - 4;
#pragma unroll 2
  for (int token = 0; token < kTile; token += 4) {
    float4 weight[kRows];
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      weight[i] = *reinterpret_cast<const float4*>(scores + (threadIdx.y + kSide * i) * (kTile + 4) + token);
    }
#pragma unroll
    for (int g = 0; g < kGroups; ++g) {
      const int column = (threadIdx.x + kSide * g) * 4;
      if (column >= width) continue;
#pragma unroll
      for (int t = 0; t < 4; ++t) {
        const float4 v = *reinterpret_cast<const float4*>(tokens + (token + t) * pitch + column);
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
          const float w = t == 0 ? weight[i].x : t == 1 ? weight[i].y : t == 2 ? weight[i].z : weight[i].w;
          sum[i][g].x += w * v.x;
          sum[i][g].y += w * v.y;
          sum[i][g].z += w * v.z;
          sum[i][g].w += w * v.w;
        }
      }
    }
  }
}

// Writes the four columns x + 16 g of one token's head.
template <class T>
__device__ inline void store_group(T* token, int group, float4 value, int head_size) {
  const int column = (threadIdx.x + kSide * group) * 4;
  const float values[4] = {value.x, value.y, value.z, value.w};
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    if (column + j < head_size) token[column + j] = narrowed<T>(values[j]);
  }
}

__device__ inline bool is_visible(const AttentionShape& shape, const SegmentPlace& place, int query, int key) {
  const int position = query + place.shift;
  return query < place.query_length && key < place.key_length && (!shape.causal || key <= position) &&
         (shape.window <= 0 || key > position - shape.window);
}

// The keys [begin, end) that any of the queries [first, last) can see.
struct Range { int begin, end; };
__device__ inline Range visible_keys(const AttentionShape& shape, const SegmentPlace& place, int first, int last) {
  Range range{0, place.key_length};
  if (shape.causal) range.end = min(range.end, last + place.shift);
  if (shape.window > 0) {
    range.begin = static_cast<int>(max(static_cast<int64_t>(0), first + place.shift - shape.window + 1));
  }
  return range;
}

// The queries [begin, end) that can see any of the keys [first, last).
__device__ inline Range visible_queries(const AttentionShape& shape, const SegmentPlace& place, int first, int last) {
  Range range{0, place.query_length};
  if (shape.causal) range.begin = max(0, first - place.shift);
  if (shape.window > 0) {
    range.end = static_cast<int>(min(static_cast<int64_t>(range.end), last - 1 + shape.window - place.shift));
  }
  return range;
}

__device__ inline float scaled_score(const AttentionShape& shape, float product) {
  const float score = product * shape.scale;
  return shape.softcap > 0.0f ? shape.softcap * tanhf(score / shape.softcap) : score;
}

// What dropout multiplies the probability of (query, head, key) with: 0, or 1 / (1 - rate). 1 without dropout.
__device__ inline float dropout_factor(const AttentionShape& shape, const AttentionDropout& dropout, const SegmentPlace& place, int query,
                                       int head, int key) {
  if (shape.dropout <= 0.0f) return 1.0f;
  const int position = dropout.key_positions ? dropout.key_positions[place.key_begin + key] : key;
  const int64_t heads = shape.total_heads > 0 ? shape.total_heads : shape.num_heads;
  const int64_t index = (dropout.token_ids[place.query_begin + query] * heads + shape.first_head + head) * (int64_t{1} << 20) + position;
  const Philox4 draw = philox(dropout.key, static_cast<uint64_t>(dropout.state->step), static_cast<uint64_t>(index));
  return uniform(draw.x) < shape.dropout ? 0.0f : 1.0f / (1.0f - shape.dropout);
}

// Host side. Gives a kernel the shared memory it needs; more than 48 KiB has to be asked for.
template <class Kernel>
void allow_shared_bytes(Kernel kernel, size_t bytes, const char* name) {
  cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)), name);
}

inline void check_head_size(const AttentionShape& shape, const char* name) {
  if (shape.head_size >= 1 && shape.head_size <= 256) return;
  throw CudaError(name, "head_size " + std::to_string(shape.head_size) + " is not in 1..256");
}

}  // namespace nemo::kernels
