#include <cub/device/device_radix_sort.cuh>

#include "kernels/base/pointwise.cuh"
#include "kernels/embedding/embedding.h"

namespace nemo::kernels {
namespace {

template <class T>
struct LookupBody {
  T* y;
  bool accumulate;
  const int32_t* ids;
  const T* table;
  EmbeddingShape shape;
  template <int N>
  __device__ void at(int64_t token, int64_t column) const {
    const int64_t row = static_cast<int64_t>(ids[token]) - shape.first_row;
    const bool present = row >= 0 && row < shape.rows;
    T* target = y + token * shape.hidden + column;
    if (accumulate && !present) return;
    float value[N] = {};
    if (present) load(value, table + row * shape.hidden + column);
    if (accumulate) {
      float before[N];
      load(before, target);
#pragma unroll
      for (int j = 0; j < N; ++j) value[j] += before[j];
    }
    store(target, value);
  }
};

// keys[t]: the table row of token t, or `rows` where it lies in another rank's part, so that those sort last.
__global__ void make_keys_kernel(uint32_t* keys, int32_t* tokens, const int32_t* ids, EmbeddingShape shape) {
  const int64_t t = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (t >= shape.tokens) return;
  const int64_t row = static_cast<int64_t>(ids[t]) - shape.first_row;
  keys[t] = static_cast<uint32_t>(row >= 0 && row < shape.rows ? row : shape.rows);
  tokens[t] = static_cast<int32_t>(t);
}

// Block x looks at sorted place x and works only where a run of equal rows starts; y cuts the columns. The run is in token
// order (the sort is stable), its rows are added in that order, kAhead loads in flight.
template <int N, class T, class Grad>
__global__ void __launch_bounds__(64) add_runs_kernel(Grad* dtable, bool accumulate, const T* dy, const uint32_t* keys,
                                                      const int32_t* tokens, EmbeddingShape shape) {
  constexpr int kAhead = 8;
  const int64_t start = blockIdx.x;
  const uint32_t row = keys[start];
  if (row >= shape.rows || (start > 0 && keys[start - 1] == row)) return;
  const int64_t step = static_cast<int64_t>(gridDim.y) * blockDim.x * N;
  for (int64_t column = (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * N; column < shape.hidden; column += step) {
    Grad* target = dtable + static_cast<int64_t>(row) * shape.hidden + column;
    float sum[N] = {};
    if (accumulate) load(sum, target);
    int64_t place = start;
    bool more = true;
    while (more) {
      float value[kAhead][N];
      bool mine[kAhead];
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        mine[i] = place + i < shape.tokens && keys[place + i] == row;
        if (mine[i]) load(value[i], dy + static_cast<int64_t>(tokens[place + i]) * shape.hidden + column);
      }
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        if (!mine[i]) continue;
#pragma unroll
        for (int j = 0; j < N; ++j) sum[j] += value[i][j];
      }
      place += kAhead;
      more = mine[kAhead - 1];  // a run has no holes
    }
    store(target, sum);
  }
}

size_t rounded_up(size_t bytes) { return (bytes + 255) / 256 * 256; }

// Four arrays of `tokens` words, and what the radix sort may take: its look-back state, far under 4 bytes an item plus 1 MiB.
// A fixed bound rather than the sort's own answer, because that needs a device and dry runs have none.
size_t array_bytes(int64_t tokens) { return rounded_up(static_cast<size_t>(tokens) * sizeof(uint32_t)); }
size_t sort_bytes(int64_t tokens) { return rounded_up(static_cast<size_t>(tokens) * 4) + (size_t{1} << 20); }

}  // namespace

template <class T>
void embedding_forward_cuda(T* y, bool accumulate, const int32_t* ids, const T* table, const EmbeddingShape& shape,
                            cudaStream_t stream) {
  const bool aligned = pack_aligned(y) && pack_aligned(table) && pack_stride(shape.hidden);
  launch_rows("embedding_forward", shape.tokens, shape.hidden, aligned, LookupBody<T>{y, accumulate, ids, table, shape}, stream);
}

size_t embedding_scratch_bytes_cuda(const EmbeddingShape& shape) { return 4 * array_bytes(shape.tokens) + sort_bytes(shape.tokens); }

template <class T, class Grad>
void embedding_backward_cuda(Grad* dtable, bool accumulate, const T* dy, const int32_t* ids, const EmbeddingShape& shape,
                             void* scratch, cudaStream_t stream) {
  if (shape.rows == 0 || shape.hidden == 0) return;
  if (!accumulate) {  // all bits zero is 0.0 in both types
    const size_t bytes = static_cast<size_t>(shape.rows * shape.hidden) * sizeof(Grad);
    cuda_check(cudaMemsetAsync(dtable, 0, bytes, stream), "cudaMemsetAsync");
  }
  if (shape.tokens == 0) return;
  char* place = static_cast<char*>(scratch);
  const size_t bytes = array_bytes(shape.tokens);
  cub::DoubleBuffer<uint32_t> keys(reinterpret_cast<uint32_t*>(place), reinterpret_cast<uint32_t*>(place + bytes));
  cub::DoubleBuffer<int32_t> tokens(reinterpret_cast<int32_t*>(place + 2 * bytes), reinterpret_cast<int32_t*>(place + 3 * bytes));
  void* sort_scratch = place + 4 * bytes;

  make_keys_kernel<<<static_cast<unsigned>((shape.tokens + 255) / 256), 256, 0, stream>>>(keys.Current(), tokens.Current(), ids,
                                                                                           shape);
  check_launch("embedding_backward");
  int end_bit = 1;
  while (end_bit < 32 && (shape.rows >> end_bit) != 0) ++end_bit;
  size_t needed = 0;
  const int count = static_cast<int>(shape.tokens);
  cuda_check(cub::DeviceRadixSort::SortPairs(nullptr, needed, keys, tokens, count, 0, end_bit, stream), "cub::DeviceRadixSort");
  if (needed > sort_bytes(shape.tokens)) {
    throw CudaError("embedding_backward", "the sort needs " + std::to_string(needed) + " bytes of scratch, more than its bound");
  }
  cuda_check(cub::DeviceRadixSort::SortPairs(sort_scratch, needed, keys, tokens, count, 0, end_bit, stream),
             "cub::DeviceRadixSort");

  const bool aligned = pack_aligned(dtable) && pack_aligned(dy) && pack_stride(shape.hidden);
  const int64_t steps = aligned ? shape.hidden / kPackSize : shape.hidden;
  const unsigned threads = steps <= 32 ? 32 : 64;
  const dim3 grid(static_cast<unsigned>(shape.tokens),
                  static_cast<unsigned>(std::min<int64_t>((steps + threads - 1) / threads, 65535)));
  if (aligned) {
    add_runs_kernel<kPackSize>
        <<<grid, threads, 0, stream>>>(dtable, accumulate, dy, keys.Current(), tokens.Current(), shape);
  } else {
    add_runs_kernel<1><<<grid, threads, 0, stream>>>(dtable, accumulate, dy, keys.Current(), tokens.Current(), shape);
  }
  check_launch("embedding_backward");
}

template void embedding_forward_cuda(float*, bool, const int32_t*, const float*, const EmbeddingShape&, cudaStream_t);
template void embedding_forward_cuda(bf16*, bool, const int32_t*, const bf16*, const EmbeddingShape&, cudaStream_t);
template void embedding_backward_cuda(float*, bool, const float*, const int32_t*, const EmbeddingShape&, void*, cudaStream_t);
template void embedding_backward_cuda(bf16*, bool, const float*, const int32_t*, const EmbeddingShape&, void*, cudaStream_t);
template void embedding_backward_cuda(float*, bool, const bf16*, const int32_t*, const EmbeddingShape&, void*, cudaStream_t);
template void embedding_backward_cuda(bf16*, bool, const bf16*, const int32_t*, const EmbeddingShape&, void*, cudaStream_t);

}  // namespace nemo::kernels
