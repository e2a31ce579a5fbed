#include "core/optim/adamw.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "core/ops/copy.h"
#include "core/ops/launch.h"
#include "core/sharding/flat_ranges.h"
#include "kernels/optimizer/optimizer.h"

namespace nemo {
namespace {

// The buffers on the device, numbered; the host's copy may end when this returns.
AdamW::Table to_device(ExecContext& ctx, std::vector<kernels::OptimizerBuffer> buffers) {
  AdamW::Table table{.buffers = {}, .num_buffers = static_cast<int>(buffers.size()), .num_chunks = 0};
  if (buffers.empty()) return table;
  table.num_chunks = kernels::number_chunks(buffers.data(), table.num_buffers);
  table.buffers = ctx.empty({static_cast<int64_t>(buffers.size() * sizeof(kernels::OptimizerBuffer))}, DType::uint8, MemoryTag::optimizer);
  upload(ctx, table.buffers, buffers.data());
  ctx.synchronize();
  return table;
}

kernels::OptimizerBuffers buffers_of(const AdamW::Table& table) {
  return {table.buffers.defined() ? static_cast<const kernels::OptimizerBuffer*>(table.buffers.raw()) : nullptr, table.num_buffers, table.num_chunks};
}

}  // namespace

AdamW::AdamW(ExecContext& ctx, ParameterStore& store, const OptimizerConfig& config) : store_(store), config_(config) {
  std::vector<kernels::OptimizerBuffer> updated, counted;
  for (const FlatBuffer& flat : store.flat_buffers()) {
    const FlatKey& key = flat.key;
    if (!key.trainable) continue;
    const Moments moments{&flat, ctx.empty({flat.owned_numel}, config.moment_dtype, MemoryTag::optimizer), ctx.empty({flat.owned_numel}, config.moment_dtype, MemoryTag::optimizer)};
    zero(ctx, moments.first);
    zero(ctx, moments.second);
    moments_.push_back(moments);
    updated.push_back({.param = flat.owned_values.raw(), .master = flat.master.defined() ? flat.master.data<float>() : nullptr, .m = moments.first.raw(), .v = moments.second.raw(),
                       .grad = flat.owned_gradients.raw(), .count = flat.owned_numel, .weight_decay = key.weight_decay ? static_cast<float>(config.weight_decay) : 0.0f,
                       .site = random_site((key.alone.empty() ? key.block : key.alone) + (key.weight_decay ? ".rounding.decayed" : ".rounding.plain")), .first_index = flat.owned_begin});
    for (const FlatRange& range : counted_ranges(flat)) {
      const int64_t begin = std::max(range.begin, flat.owned_begin), end = std::min(range.end, flat.owned_begin + flat.owned_numel);
      if (begin < end) counted.push_back({.grad = flat.owned_gradients.segment(begin - flat.owned_begin, {end - begin}).raw(), .count = end - begin});
    }
  }
  updated_ = to_device(ctx, std::move(updated));
  counted_ = to_device(ctx, std::move(counted));
}

void AdamW::step(ExecContext& ctx, const ReduceSums& reduce_sums) {
  store_.zero_unwritten(ctx);
  kernels::StepState* const state = ctx.step_state();
  const Tensor scratch = ctx.empty({kernels::kSquareSumBlocks}, DType::fp64, MemoryTag::workspace);
  const kernels::OptimizerBuffers updated = buffers_of(updated_), counted = buffers_of(counted_);
  const kernels::AdamWArgs args{.beta1 = static_cast<float>(config_.betas[0]), .beta2 = static_cast<float>(config_.betas[1]), .eps = static_cast<float>(config_.eps),
                                .seed = ctx.random_key(0).seed};
  const StoragePolicy& policy = store_.policy();
  with_float_type("adamw", policy.gradients, [&](auto g) {
    using Grad = decltype(g);
    launch(ctx, "grad_norm", [&] { kernels::square_sum_cpu<Grad>(state, counted, scratch.data<double>()); },
           [&] { kernels::square_sum_cuda<Grad>(state, counted, scratch.data<double>(), ctx.stream()); });
    if (reduce_sums) reduce_sums(ctx);
    launch(ctx, "grad_norm", [&] { kernels::finish_grad_norm_cpu(state); }, [&] { kernels::finish_grad_norm_cuda(state, ctx.stream()); });
    with_float_type("adamw", policy.values, [&](auto t) {
      using T = decltype(t);
      with_float_type("adamw", config_.moment_dtype, [&](auto m) {
        using Moment = decltype(m);
        launch(ctx, "adamw", [&] { kernels::adamw_cpu<T, Grad, Moment>(updated, state, args); }, [&] { kernels::adamw_cuda<T, Grad, Moment>(updated, state, args, ctx.stream()); });
      });
    });
  });
}

void set_bias_corrections(kernels::StepState& state, const OptimizerConfig& config) {
  state.bias_correction1 = static_cast<float>(1 - std::pow(config.betas[0], static_cast<double>(state.step)));
  state.bias_correction2 = static_cast<float>(1 - std::pow(config.betas[1], static_cast<double>(state.step)));
}

}  // namespace nemo
