// Moving and converting tensors: between host and device, between element types. Not here: copies inside the arithmetic.
#pragma once
#include <cstddef>
#include <vector>

#include "core/exec_context.h"

namespace nemo {

void zero(ExecContext& ctx, const Tensor& x);                                   // contiguous
void copy(ExecContext& ctx, const Tensor& to, const Tensor& from);              // contiguous, same dtype and size, same device
void copy_rows(ExecContext& ctx, const Tensor& to, const Tensor& from);         // same shape, rows may be strided
void convert(ExecContext& ctx, const Tensor& to, const Tensor& from);           // fp32 <-> bf16, contiguous, same numel

// Bytes between host memory and a contiguous tensor. upload may return before the copy is done when the memory is pinned;
// with ordinary memory both wait. Neither does anything on meta.
void upload(ExecContext& ctx, const Tensor& to, const void* from);
template <class T>
Tensor from_host(ExecContext& ctx, const std::vector<T>& values, MemoryTag tag = MemoryTag::data) {  // [values.size()]
  const Tensor tensor = ctx.empty({static_cast<int64_t>(values.size())}, dtype_of<T>, tag);
  upload(ctx, tensor, values.data());
  return tensor;
}
void download(ExecContext& ctx, void* to, const Tensor& from);
void download_later(ExecContext& ctx, void* to, const Tensor& from);            // to: pinned memory; done when the stream gets there

// Values of a contiguous fp32 or bf16 tensor as host fp32.
void write_fp32(ExecContext& ctx, const Tensor& to, const float* values);
std::vector<float> read_fp32(ExecContext& ctx, const Tensor& from);

}  // namespace nemo
