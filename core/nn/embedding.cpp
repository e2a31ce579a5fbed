#include "core/nn/embedding.h"

#include "core/ops/embedding.h"

namespace nemo {

Tensor Embedding::operator()(ExecContext& ctx, const TokenLayout& tokens) const {
  Tensor x = embedding(ctx, tokens.ids, table_);
  if (boundary_) x = boundary_->leave(ctx, x);
  return positions_.defined() ? add_embedding(ctx, x, tokens.stream_positions(), positions_) : x;
}

}  // namespace nemo
