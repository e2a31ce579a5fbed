// Random numbers to measure on: products of zeros draw less power and run faster than a training step's.
// Not here: initial weights (core/ops/fill.h).
#pragma once
#include "core/exec_context.h"

namespace nemo {

// Drawn on the device. fp32 or bf16; `number` tells the tensors of a bench apart.
Tensor random_tensor(ExecContext& ctx, const Shape& shape, DType dtype, uint64_t number);   // standard normal
Tensor uniform_tensor(ExecContext& ctx, const Shape& shape, DType dtype, uint64_t number);  // [0, 1)

}  // namespace nemo
