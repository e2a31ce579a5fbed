#include "core/ops/copy.h"

#include <cstring>

#include "core/ops/launch.h"
#include "kernels/base/cuda_device.h"
#include "kernels/base/parallel_for.h"
#include "kernels/elementwise/elementwise.h"

namespace nemo {

void zero(ExecContext& ctx, const Tensor& x) {
  const auto shared_among_threads = [&] {  // most of the time goes into pages that are touched first here
    kernels::parallel_for(static_cast<int64_t>(x.bytes()), int64_t{1} << 20, [&](int64_t begin, int64_t end) { std::memset(static_cast<char*>(x.raw()) + begin, 0, static_cast<size_t>(end - begin)); });
  };
  launch(ctx, "zero", shared_among_threads, [&] { kernels::cuda_zero(x.raw(), x.bytes(), ctx.stream()); });
}

void copy(ExecContext& ctx, const Tensor& to, const Tensor& from) {
  expect_shape("copy", "from", from, to.shape());
  expect_dtype("copy", "from", from, to.dtype());
  launch(ctx, "copy", [&] { std::memcpy(to.raw(), from.raw(), to.bytes()); },
         [&] { kernels::cuda_copy(to.raw(), from.raw(), to.bytes(), kernels::CopyKind::device_to_device, ctx.stream()); });
}

void copy_rows(ExecContext& ctx, const Tensor& to, const Tensor& from) {
  const Tensor to_rows = to.view({to.dim(0), -1}), from_rows = from.view({from.dim(0), -1});
  expect_shape("copy_rows", "from", from_rows, to_rows.shape());
  expect_dtype("copy_rows", "from", from_rows, to_rows.dtype());
  const kernels::ColumnsShape shape{.rows = to_rows.dim(0), .columns = to_rows.dim(1), .to_stride = to_rows.stride(0), .from_stride = from_rows.stride(0),
                                    .element_bytes = size_bytes(to.dtype())};
  launch(ctx, "copy_rows", [&] { kernels::copy_columns_cpu(to_rows.raw(), from_rows.raw(), shape); },
         [&] { kernels::copy_columns_cuda(to_rows.raw(), from_rows.raw(), shape, ctx.stream()); });
}

void convert(ExecContext& ctx, const Tensor& to, const Tensor& from) {
  if (to.dtype() == from.dtype()) return copy(ctx, to, from);
  const int64_t count = to.numel();
  if (to.dtype() == DType::bf16) {
    launch(ctx, "convert", [&] { kernels::convert_cpu(to.data<bf16>(), from.data<float>(), count); },
           [&] { kernels::convert_cuda(to.data<bf16>(), from.data<float>(), count, ctx.stream()); });
  } else {
    launch(ctx, "convert", [&] { kernels::convert_cpu(to.data<float>(), from.data<bf16>(), count); },
           [&] { kernels::convert_cuda(to.data<float>(), from.data<bf16>(), count, ctx.stream()); });
  }
}

void upload(ExecContext& ctx, const Tensor& to, const void* from) {
  launch(ctx, "upload", [&] { std::memcpy(to.raw(), from, to.bytes()); },
         [&] { kernels::cuda_copy(to.raw(), from, to.bytes(), kernels::CopyKind::host_to_device, ctx.stream()); });
}

void download_later(ExecContext& ctx, void* to, const Tensor& from) {
  launch(ctx, "download", [&] { std::memcpy(to, from.raw(), from.bytes()); },
         [&] { kernels::cuda_copy(to, from.raw(), from.bytes(), kernels::CopyKind::device_to_host, ctx.stream()); });
}

void download(ExecContext& ctx, void* to, const Tensor& from) {
  download_later(ctx, to, from);
  ctx.synchronize();
}

void write_fp32(ExecContext& ctx, const Tensor& to, const float* values) {
  if (to.dtype() == DType::fp32) return upload(ctx, to, values);
  std::vector<bf16> narrow(static_cast<size_t>(to.numel()));
  kernels::convert_cpu(narrow.data(), values, to.numel());
  expect_dtype("write_fp32", "to", to, DType::bf16);
  upload(ctx, to, narrow.data());
  ctx.synchronize();  // `narrow` ends here
}

std::vector<float> read_fp32(ExecContext& ctx, const Tensor& from) {
  std::vector<float> values(static_cast<size_t>(from.numel()));
  if (from.dtype() == DType::fp32) {
    download(ctx, values.data(), from);
  } else {
    expect_dtype("read_fp32", "from", from, DType::bf16);
    std::vector<bf16> narrow(values.size());
    download(ctx, narrow.data(), from);
    kernels::convert_cpu(values.data(), narrow.data(), from.numel());
  }
  return values;
}

}  // namespace nemo
