// A weight's copy in 8-bit floats: what a linear multiplies by in training, made from the stored value once per update.
// Not here: the product (core/ops/fp8_linear.h), who gets such a copy (core/nn/parameter_store.h).
#pragma once
#include "core/nn/parameter.h"
#include "core/tensor/quantised_tensor.h"

namespace nemo {

struct QuantisedWeight {
  ParameterSpan weight;
  QuantisedTensor copy;  // fp8_e4m3; payload for y = x W^T, transposed for dx = dy W; leased when the store allocates
  bool current = false;  // false: the value may have changed since the copy was made
};

}  // namespace nemo
