// Floating-point elements of one type rewritten as another, on the host: through fp32, round to nearest even.
// Not here: moving them (strided_copy.h), conversions inside a training step (kernels/).
#pragma once
#include <cstddef>
#include <span>

#include "kernels/base/dtype.h"

namespace nemo {

// from and to hold the same number of elements and may not overlap. CheckpointError for types that are not floating
// point.
void convert_dtype(std::span<const std::byte> from, DType from_dtype, std::span<std::byte> to, DType to_dtype);

}  // namespace nemo
