#include "core/nn/block.h"

#include "core/autograd/tape.h"

namespace nemo {

Bundle run_block(ExecContext& ctx, const Block& block, const Bundle& in, const TokenLayout& tokens) {
  if (ctx.tape() == nullptr) {
    const BlockHooks* const hooks = ctx.block_hooks();
    if (hooks != nullptr && hooks->before_forward) hooks->before_forward(ctx, block.name());
    Bundle out = block.forward(ctx, in, tokens);
    if (hooks != nullptr && hooks->after_forward) hooks->after_forward(ctx, block.name());
    return out;
  }
  ctx.tape()->enter_block(ctx, block.name());
  Bundle out = block.forward(ctx, in, tokens);
  ctx.tape()->leave_block(ctx, block.name());
  return out;
}

}  // namespace nemo
