// Rotary position embedding of queries and keys.
#pragma once
#include "core/exec_context.h"

namespace nemo {

// Cosines and sines by position: cos, sin [max_positions, rotary_size / 2] fp32 on the device.
struct RopeTable { Tensor cos, sin; };

// q [T, heads, H], k [T, groups, H] (token-strided allowed), positions [T] int32. In place: q and k must have no other reader;
// so in the backward.
struct RotatedHeads { Tensor q, k; };
RotatedHeads rope(ExecContext& ctx, const Tensor& q, const Tensor& k, const Tensor& positions, const RopeTable& table);

}  // namespace nemo
