#include "core/nn/block.h"

#include "core/autograd/tape.h"
#include "core/ops/elementwise.h"

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

Bundle run_recomputed(ExecContext& ctx, const std::vector<const Block*>& blocks, const Bundle& in, const TokenLayout& tokens) {
  const auto forward = [blocks, tokens](ExecContext& ctx, const std::vector<Tensor>& from) -> std::vector<Tensor> {
    Bundle bundle{.residual = from[0]};
    for (const Block* block : blocks) bundle = run_block(ctx, *block, bundle, tokens);
    return {bundle.residual, bundle.branch};
  };
  const Tensor stream = in.branch.defined() ? add(ctx, in.residual, in.branch) : in.residual;
  const std::vector<Tensor> out = ctx.tape()->checkpoint(ctx, {stream}, forward);
  return {.residual = out[0], .branch = out[1]};
}

}  // namespace nemo
