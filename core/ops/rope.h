// Rotary position embedding of queries or keys.
#pragma once
#include "core/exec_context.h"

namespace nemo {

// Cosines and sines by position: cos, sin [max_positions, rotary_size / 2] fp32 on the device.
struct RopeTable { Tensor cos, sin; };

// x [T, heads, H] (token-strided allowed), positions [T] int32. In place: x must have no other reader; so in the backward.
Tensor rope(ExecContext& ctx, const Tensor& x, const Tensor& positions, const RopeTable& table);

}  // namespace nemo
