#include "kernels/base/pointwise.cuh"
#include "kernels/gemm/gemm_epilogue.h"

namespace nemo::kernels {
namespace {

template <class Out, class In>
struct AddRowVectorBody {
  Out* c;
  const In* bias;
  int64_t stride;
  template <int N>
  __device__ void at(int64_t row, int64_t column) const {
    float value[N], added[N];
    load(value, c + row * stride + column);
    load(added, bias + column);
#pragma unroll
    for (int j = 0; j < N; ++j) value[j] += added[j];
    store(c + row * stride + column, value);
  }
};

}  // namespace

template <class Out, class In>
void add_row_vector(Out* c, const In* bias, const RowVectorShape& shape, cudaStream_t stream) {
  const bool aligned = pack_aligned(c) && pack_aligned(bias) && pack_stride(shape.columns) && pack_stride(shape.stride);
  launch_rows("add_row_vector", shape.rows, shape.columns, aligned, AddRowVectorBody<Out, In>{c, bias, shape.stride}, stream);
}

template void add_row_vector(float*, const float*, const RowVectorShape&, cudaStream_t);
template void add_row_vector(bf16*, const float*, const RowVectorShape&, cudaStream_t);
template void add_row_vector(float*, const bf16*, const RowVectorShape&, cudaStream_t);
template void add_row_vector(bf16*, const bf16*, const RowVectorShape&, cudaStream_t);

}  // namespace nemo::kernels
