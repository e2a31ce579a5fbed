// A matrix as 8-bit floats: payload, scale, and the same codes transposed where a product reads them along the other
// dimension.  Not here: making one (core/ops/quantise.h), formats (kernels/base/fp8.h).
#pragma once
#include "core/tensor/tensor.h"

namespace nemo {

struct QuantisedTensor {
  Tensor payload;     // [rows, columns] fp8_e4m3 or fp8_e5m2; undefined where only the twin is wanted
  Tensor transposed;  // [columns, rows], the same codes; undefined where only the payload is wanted
  Tensor scale;       // [1] fp32: an element is its code times this
};

}  // namespace nemo
