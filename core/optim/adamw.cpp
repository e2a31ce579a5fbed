#include "core/optim/adamw.h"

#include <cmath>
#include <vector>

#include "core/ops/copy.h"
#include "core/ops/launch.h"
#include "kernels/optimizer/optimizer.h"

namespace nemo {

AdamW::AdamW(ExecContext& ctx, ParameterStore& store, const OptimizerConfig& config) : store_(store), config_(config) {
  std::vector<kernels::OptimizerBuffer> table;
  for (const FlatBuffer& flat : store.flat_buffers()) {
    const FlatKey& key = flat.key;
    if (!key.trainable) continue;
    const Moments moments{&flat, ctx.empty({flat.numel}, config.moment_dtype, MemoryTag::optimizer), ctx.empty({flat.numel}, config.moment_dtype, MemoryTag::optimizer)};
    zero(ctx, moments.first);
    zero(ctx, moments.second);
    moments_.push_back(moments);
    table.push_back({.param = flat.values.raw(), .master = flat.master.defined() ? flat.master.data<float>() : nullptr, .m = moments.first.raw(), .v = moments.second.raw(),
                     .grad = flat.gradients.raw(), .count = flat.numel, .weight_decay = key.weight_decay ? static_cast<float>(config.weight_decay) : 0.0f,
                     .site = random_site(key.block + (key.weight_decay ? ".rounding.decayed" : ".rounding.plain"))});
  }
  if (table.empty()) return;
  num_chunks_ = kernels::number_chunks(table.data(), static_cast<int>(table.size()));
  table_ = ctx.empty({static_cast<int64_t>(table.size() * sizeof(kernels::OptimizerBuffer))}, DType::uint8, MemoryTag::optimizer);
  upload(ctx, table_, table.data());
  ctx.synchronize();  // `table` ends here
}

void AdamW::step(ExecContext& ctx) {
  store_.zero_unwritten(ctx);
  kernels::StepState* const state = ctx.step_state();
  const Tensor scratch = ctx.empty({kernels::kSquareSumBlocks}, DType::fp64, MemoryTag::workspace);
  const kernels::OptimizerBuffers buffers{table_.defined() ? static_cast<const kernels::OptimizerBuffer*>(table_.raw()) : nullptr, static_cast<int>(moments_.size()), num_chunks_};
  const kernels::AdamWArgs args{.beta1 = static_cast<float>(config_.betas[0]), .beta2 = static_cast<float>(config_.betas[1]), .eps = static_cast<float>(config_.eps),
                                .seed = ctx.random_key(0).seed};
  const StoragePolicy& policy = store_.policy();
  with_float_type("adamw", policy.gradients, [&](auto g) {
    using Grad = decltype(g);
    launch(ctx, "grad_norm", [&] { kernels::square_sum_cpu<Grad>(state, buffers, scratch.data<double>()); },
           [&] { kernels::square_sum_cuda<Grad>(state, buffers, scratch.data<double>(), ctx.stream()); });
    launch(ctx, "grad_norm", [&] { kernels::finish_grad_norm_cpu(state); }, [&] { kernels::finish_grad_norm_cuda(state, ctx.stream()); });
    with_float_type("adamw", policy.values, [&](auto t) {
      using T = decltype(t);
      with_float_type("adamw", config_.moment_dtype, [&](auto m) {
        using Moment = decltype(m);
        launch(ctx, "adamw", [&] { kernels::adamw_cpu<T, Grad, Moment>(buffers, state, args); }, [&] { kernels::adamw_cuda<T, Grad, Moment>(buffers, state, args, ctx.stream()); });
      });
    });
  });
}

void set_bias_corrections(kernels::StepState& state, const OptimizerConfig& config) {
  state.bias_correction1 = static_cast<float>(1 - std::pow(config.betas[0], static_cast<double>(state.step)));
  state.bias_correction2 = static_cast<float>(1 - std::pow(config.betas[1], static_cast<double>(state.step)));
}

}  // namespace nemo
