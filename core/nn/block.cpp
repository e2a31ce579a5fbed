#include "core/nn/block.h"

#include "core/autograd/tape.h"

namespace nemo {

Bundle run_block(ExecContext& ctx, const Block& block, const Bundle& in, const TokenLayout& tokens) {
  if (ctx.tape() == nullptr) return block.forward(ctx, in, tokens);
  ctx.tape()->enter_block(ctx, block.name());
  Bundle out = block.forward(ctx, in, tokens);
  ctx.tape()->leave_block(ctx, block.name());
  return out;
}

}  // namespace nemo
