#include <cuda_fp8.h>

#include "kernels/base/cuda_check.h"
#include "kernels/quantise/quantise.h"

namespace nemo::kernels {
namespace {

constexpr int kAmaxThreads = kAmaxChunk / 8, kAmaxUnrolled = 4;

// A part is a block's share. Works on the bits of two elements at once: without the sign they order like the numbers.
__global__ void __launch_bounds__(kAmaxThreads) amax_kernel(float* parts, const bf16* x, QuantiseShape shape) {
  const uint32_t packs_per_row = static_cast<uint32_t>(shape.columns / 8),
                 packs = static_cast<uint32_t>(shape.rows) * packs_per_row;
  const bool gapless = shape.stride == shape.columns;
  const uint32_t step = gridDim.x * kAmaxThreads;
  uint32_t largest = 0;
  for (uint32_t first = blockIdx.x * kAmaxThreads + threadIdx.x; first < packs; first += step * kAmaxUnrolled) {
    uint4 raw[kAmaxUnrolled];
#pragma unroll
    for (int i = 0; i < kAmaxUnrolled; ++i) {
      const uint32_t pack = first + i * step;
      raw[i] = make_uint4(0, 0, 0, 0);
      if (pack >= packs) continue;
      const uint32_t row = gapless ? 0 : pack / packs_per_row;
      raw[i] = *reinterpret_cast<const uint4*>(x + row * shape.stride +
                                               static_cast<int64_t>(pack - row * packs_per_row) * 8);
    }
#pragma unroll
    for (int i = 0; i < kAmaxUnrolled; ++i)
      for (const uint32_t pair : {raw[i].x, raw[i].y, raw[i].z, raw[i].w})
        largest = __vmaxu2(largest, pair & 0x7fff7fffu);
  }
  largest = __reduce_max_sync(0xffffffffu, max(largest & 0xffffu, largest >> 16));
  __shared__ uint32_t of_warp[kAmaxThreads / 32];
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = largest;
  __syncthreads();
  if (threadIdx.x >= 32) return;
  largest = __reduce_max_sync(0xffffffffu, threadIdx.x < kAmaxThreads / 32 ? of_warp[threadIdx.x] : 0u);
  if (threadIdx.x == 0) parts[blockIdx.x] = __uint_as_float(largest << 16);
}

// One block turns a tile of 128 x 128 elements. A thread holds pieces of 4 rows by 8 columns; in the transposed tile a
// word is 4 rows of one column, so that bytes change places in registers and shared memory moves whole words.
constexpr int kTile = 128, kThreads = 256, kPieceRows = 4, kPieceColumns = 8;
constexpr int kPiecesAcross = kTile / kPieceColumns;                    // 16
constexpr int kPieces = kTile / kPieceRows * kPiecesAcross / kThreads;  // 2 a thread
static_assert(kThreads == kAmaxParts);

template <class Float>
__device__ inline uint32_t four_codes(uint32_t first, uint32_t second,
                                      float multiplier) {  // two words of two bf16 each
  constexpr __nv_fp8_interpretation_t kFormat = std::is_same_v<Float, fp8_e4m3> ? __NV_E4M3 : __NV_E5M2;
  const auto pair = [multiplier](uint32_t word) {
    return make_float2(__uint_as_float(word << 16) * multiplier, __uint_as_float(word & 0xffff0000u) * multiplier);
  };
  const uint32_t low = __nv_cvt_float2_to_fp8x2(pair(first), __NV_SATFINITE, kFormat);
  const uint32_t high = __nv_cvt_float2_to_fp8x2(pair(second), __NV_SATFINITE, kFormat);
  return low | high << 16;
}

// Rows a b c d of four bytes become four columns: out[j] = a_j b_j c_j d_j.
__device__ inline void transpose_bytes(uint32_t (&out)[4], uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  const uint32_t ab_low = __byte_perm(a, b, 0x5140), cd_low = __byte_perm(c, d, 0x5140);    // a0 b0 a1 b1
  const uint32_t ab_high = __byte_perm(a, b, 0x7362), cd_high = __byte_perm(c, d, 0x7362);  // a2 b2 a3 b3
  out[0] = __byte_perm(ab_low, cd_low, 0x5410), out[1] = __byte_perm(ab_low, cd_low, 0x7632);
  out[2] = __byte_perm(ab_high, cd_high, 0x5410), out[3] = __byte_perm(ab_high, cd_high, 0x7632);
}

template <class Float, bool kRows, bool kTransposed>
__global__ void __launch_bounds__(kThreads) quantise_kernel(Float* payload, Float* transposed, float* scale,
                                                            const bf16* x, const float* parts, QuantiseShape shape) {
  const int64_t tile_row = static_cast<int64_t>(blockIdx.y) * kTile,
                tile_column = static_cast<int64_t>(blockIdx.x) * kTile;
  const int across =
      threadIdx.x % kPiecesAcross;  // a warp spans all columns of the tile, and two neighbouring pieces down
  const int64_t column = tile_column + across * kPieceColumns;
  uint4 raw[kPieces][kPieceRows];
#pragma unroll
  for (int piece = 0; piece < kPieces; ++piece) {  // asked for first, so that they are under way during what follows
    const int64_t row = tile_row + (threadIdx.x / kPiecesAcross + piece * (kThreads / kPiecesAcross)) * kPieceRows;
#pragma unroll
    for (int r = 0; r < kPieceRows; ++r)
      raw[piece][r] = row < shape.rows && column < shape.columns
                          ? *reinterpret_cast<const uint4*>(x + (row + r) * shape.stride + column)
                          : make_uint4(0, 0, 0, 0);
  }

  __shared__ uint32_t of_warp[kThreads / 32];
  uint32_t amax = __reduce_max_sync(0xffffffffu, __float_as_uint(parts[threadIdx.x]));
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = amax;
  __syncthreads();
#pragma unroll
  for (int warp = 0; warp < kThreads / 32; ++warp) amax = max(amax, of_warp[warp]);
  const Fp8Scale chosen = fp8_scale<Float>(__uint_as_float(amax));
  if (blockIdx.x == 0 && blockIdx.y == 0 && threadIdx.x == 0) *scale = chosen.scale;

  // The word of rows 4 q .. 4 q + 3 of column c lies at [c][q ^ 2 (c / 8)]: no two lanes meet in a bank, writing or
  // reading.
  __shared__ __align__(16) uint32_t tile[kTransposed ? kTile : 1][kTile / kPieceRows];
#pragma unroll
  for (int piece = 0; piece < kPieces; ++piece) {
    const int down = threadIdx.x / kPiecesAcross + piece * (kThreads / kPiecesAcross);
    const int64_t row = tile_row + down * kPieceRows;
    uint32_t low[kPieceRows], high[kPieceRows];
#pragma unroll
    for (int r = 0; r < kPieceRows; ++r) {
      low[r] = four_codes<Float>(raw[piece][r].x, raw[piece][r].y, chosen.multiplier);
      high[r] = four_codes<Float>(raw[piece][r].z, raw[piece][r].w, chosen.multiplier);
      if (kRows && row < shape.rows && column < shape.columns)
        *reinterpret_cast<uint2*>(payload + (row + r) * shape.columns + column) = make_uint2(low[r], high[r]);
    }
    if constexpr (kTransposed) {
      uint32_t words[4];
      transpose_bytes(words, low[0], low[1], low[2], low[3]);
#pragma unroll
      for (int j = 0; j < 4; ++j) tile[across * kPieceColumns + j][down ^ (2 * across)] = words[j];
      transpose_bytes(words, high[0], high[1], high[2], high[3]);
#pragma unroll
      for (int j = 0; j < 4; ++j) tile[across * kPieceColumns + 4 + j][down ^ (2 * across)] = words[j];
    }
  }
  if constexpr (!kTransposed) return;
  __syncthreads();
  constexpr int kChunksDown = kTile / 16;  // 16 rows of a column: one store
#pragma unroll
  for (int i = 0; i < kTile * kChunksDown / kThreads; ++i) {
    const int index = threadIdx.x + i * kThreads, chunk = index % kChunksDown, c = index / kChunksDown,
              piece = c / kPieceColumns;
    uint4 words = *reinterpret_cast<const uint4*>(&tile[kTransposed ? c : 0][(chunk ^ (piece / 2)) * 4]);
    if (piece % 2 != 0) words = make_uint4(words.z, words.w, words.x, words.y);
    const int64_t row = tile_row + chunk * 16;
    if (row < shape.rows && tile_column + c < shape.columns)
      *reinterpret_cast<uint4*>(transposed + (tile_column + c) * shape.rows + row) = words;
  }
}

}  // namespace

void amax_cuda(float* parts, const bf16* x, QuantiseShape shape, cudaStream_t stream) {
  amax_kernel<<<kAmaxParts, kAmaxThreads, 0, stream>>>(parts, x, shape);
  check_launch("amax");
}

template <class Float>
void quantise_cuda(Float* payload, Float* transposed, float* scale, const bf16* x, const float* parts,
                   QuantiseShape shape, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>((shape.columns + kTile - 1) / kTile),
                  static_cast<unsigned>((shape.rows + kTile - 1) / kTile));
  if (payload != nullptr && transposed != nullptr)
    quantise_kernel<Float, true, true><<<grid, kThreads, 0, stream>>>(payload, transposed, scale, x, parts, shape);
  else if (payload != nullptr)
    quantise_kernel<Float, true, false><<<grid, kThreads, 0, stream>>>(payload, transposed, scale, x, parts, shape);
  else
    quantise_kernel<Float, false, true><<<grid, kThreads, 0, stream>>>(payload, transposed, scale, x, parts, shape);
  check_launch("quantise");
}

template void quantise_cuda(fp8_e4m3*, fp8_e4m3*, float*, const bf16*, const float*, QuantiseShape, cudaStream_t);
template void quantise_cuda(fp8_e5m2*, fp8_e5m2*, float*, const bf16*, const float*, QuantiseShape, cudaStream_t);

}  // namespace nemo::kernels
