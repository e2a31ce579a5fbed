#include "core/ops/quantise.h"

#include "core/ops/launch.h"
#include "kernels/gemm/fp8_gemm.h"
#include "kernels/quantise/quantise.h"

namespace nemo {
namespace {

template <class F>
void with_fp8_type(const char* op, DType dtype, F&& f) {
  if (dtype == DType::fp8_e4m3) return f(fp8_e4m3{});
  if (dtype == DType::fp8_e5m2) return f(fp8_e5m2{});
  throw ShapeError{op, "dtype", std::string(name(dtype)) + " is no 8-bit float", "fp8_e4m3 or fp8_e5m2"};
}

template <class Float>
Float* data_or_null(const Tensor& x) {
  return x.defined() ? x.data<Float>() : nullptr;
}

// For a value whose maker took none: a pass of its own.
Tensor largest_magnitudes(ExecContext& ctx, const Tensor& x, const kernels::QuantiseShape& shape) {
  const Tensor parts = ctx.empty({kernels::kAmaxParts}, DType::fp32, MemoryTag::workspace);
  launch(
      ctx, "amax", [&] { kernels::amax_cpu(parts.data<float>(), x.data<bf16>(), shape); },
      [&] { kernels::amax_cuda(parts.data<float>(), x.data<bf16>(), shape, ctx.stream()); });
  return parts;
}

}  // namespace

void quantise_into(ExecContext& ctx, const QuantisedTensor& to, const Tensor& x) {
  expect_dtype("quantise", "x", x, DType::bf16);
  const kernels::QuantiseShape shape{.rows = x.dim(0), .columns = x.dim(1), .stride = x.stride(0)};
  for (const int64_t size : {shape.rows, shape.columns, shape.stride})
    if (size % kernels::kQuantiseMultiple != 0)
      throw ShapeError{"quantise", "x",
                       "is " + to_string(x.shape()) + " with rows " + std::to_string(shape.stride) + " apart",
                       "sizes that are multiples of " + std::to_string(kernels::kQuantiseMultiple)};
  if (to.payload.defined()) expect_shape("quantise", "payload", to.payload, x.shape());
  if (to.transposed.defined()) expect_shape("quantise", "transposed", to.transposed, {shape.columns, shape.rows});
  const Tensor amax = x.amax() != nullptr ? *x.amax() : largest_magnitudes(ctx, x, shape);
  with_fp8_type("quantise", (to.payload.defined() ? to.payload : to.transposed).dtype(), [&](auto f) {
    using Float = decltype(f);
    Float *const payload = data_or_null<Float>(to.payload), *const transposed = data_or_null<Float>(to.transposed);
    float* const scale = to.scale.data<float>();
    launch(
        ctx, "quantise",
        [&] { kernels::quantise_cpu(payload, transposed, scale, x.data<bf16>(), amax.data<float>(), shape); },
        [&] {
          kernels::quantise_cuda(payload, transposed, scale, x.data<bf16>(), amax.data<float>(), shape, ctx.stream());
        });
  });
}

AmaxRoom amax_room(ExecContext& ctx, const Tensor& y) {
  if (!ctx.takes_amax() || !ctx.training() || y.dtype() != DType::bf16) return {};
  return {ctx.empty({kernels::kAmaxParts}, DType::fp32)};
}

void AmaxRoom::collect_cpu(const Tensor& y) const {
  if (!parts.defined()) return;
  const int64_t columns = y.dim(-1);
  kernels::amax_cpu(parts.data<float>(), y.data<bf16>(),
                    {.rows = y.numel() / columns, .columns = columns, .stride = columns});
}

QuantisedTensor quantise(ExecContext& ctx, const Tensor& x, DType format, QuantiseParts parts) {
  const QuantisedTensor to{.payload = parts.payload ? ctx.empty(x.shape(), format) : Tensor(),
                           .transposed = parts.transposed ? ctx.empty({x.dim(1), x.dim(0)}, format) : Tensor(),
                           .scale = ctx.empty({1}, DType::fp32)};
  quantise_into(ctx, to, x);
  return to;
}

void fp8_gemm(ExecContext& ctx, const Tensor& c, Fp8Matrix a, Fp8Matrix b, Fp8GemmFlags flags, const Tensor& bias) {
  const kernels::Fp8GemmShape shape{.m = a.codes.dim(0),
                                    .n = b.codes.dim(0),
                                    .k = a.codes.dim(1),
                                    .ldc = c.stride(0),
                                    .beta = flags.accumulate ? 1.0f : 0.0f,
                                    .fast_accumulation = flags.fast_accumulation};
  expect_shape("fp8_gemm", "b", b.codes, {shape.n, shape.k});
  expect_shape("fp8_gemm", "c", c, {shape.m, shape.n});
  const kernels::Fp8Operand<fp8_e4m3> right{b.codes.data<fp8_e4m3>(), b.scale.data<float>()};
  const bf16* bias_data = bias.defined() ? bias.data<bf16>() : nullptr;
  const auto multiply = [&](auto left, auto* out) {
    launch(
        ctx, "fp8_gemm", [&] { kernels::fp8_gemm_cpu(out, left, right, bias_data, shape); },
        [&] {
          kernels::fp8_gemm_cuda(ctx.runtime().cublaslt(), out, left, right, bias_data, shape,
                                 ctx.runtime().gemm_workspace(), ctx.stream());
        });
  };
  const float* scale = a.scale.data<float>();
  if (a.codes.dtype() == DType::fp8_e4m3)
    return multiply(kernels::Fp8Operand<fp8_e4m3>{a.codes.data<fp8_e4m3>(), scale}, c.data<bf16>());
  const kernels::Fp8Operand<fp8_e5m2> left{a.codes.data<fp8_e5m2>(), scale};
  return c.dtype() == DType::fp32 ? multiply(left, c.data<float>()) : multiply(left, c.data<bf16>());
}

}  // namespace nemo
