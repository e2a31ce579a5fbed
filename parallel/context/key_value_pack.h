// Keys and values of the same tokens side by side, so that they travel together.
#pragma once
#include <utility>

#include "core/ops/copy.h"

namespace nemo {

// [T, G, H] twice -> [T, 2 G H]
inline Tensor pack_keys_values(ExecContext& ctx, const Tensor& k, const Tensor& v) {
  const int64_t tokens = k.dim(0), width = k.dim(1) * k.dim(2);
  const Tensor packed = ctx.empty({tokens, 2 * width}, k.dtype());
  copy_rows(ctx, packed.slice(1, 0, width), k.view({tokens, width}));
  copy_rows(ctx, packed.slice(1, width, width), v.view({tokens, width}));
  return packed;
}

// The two [T, G, H] in a pack; they share its memory.
inline std::pair<Tensor, Tensor> keys_values(const Tensor& packed, int64_t head_size) {
  const int64_t tokens = packed.dim(0), width = packed.dim(1) / 2;
  const Shape shape{tokens, width / head_size, head_size};
  return {packed.slice(1, 0, width).view(shape), packed.slice(1, width, width).view(shape)};
}

}  // namespace nemo
