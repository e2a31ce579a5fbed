// How an op reaches its kernel: the one place that asks which device and which element type.
// Not here: the ops themselves.
#pragma once
#include <string>
#include <utility>

#include "core/error.h"
#include "core/exec_context.h"
#include "kernels/base/error.h"

namespace nemo {

// Runs cpu() or cuda(), nothing on meta. A failed library call becomes a DeviceError naming the op.
template <class Cpu, class Cuda>
void launch(ExecContext& ctx, const char* op, Cpu&& cpu, Cuda&& cuda) {
  switch (ctx.device().type) {
    case DeviceType::meta: return;
    case DeviceType::cpu: return cpu();
    case DeviceType::cuda:
      try {
        return cuda();
      } catch (const kernels::CudaError& error) {
        throw DeviceError{to_string(ctx.device()), op, error.what()};
      }
  }
}

// Calls f with a value of the floating type, for `using T = decltype(t)`.
template <class F>
void with_float_type(const char* op, DType dtype, F&& f) {
  if (dtype == DType::fp32) return f(float{});
  if (dtype == DType::bf16) return f(bf16{});
  throw ShapeError{op, "dtype", std::string(name(dtype)) + " is not computed in", "fp32 or bf16"};
}

}  // namespace nemo
