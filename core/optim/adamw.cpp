#include "core/optim/adamw.h"

#include <cmath>

#include "core/ops/copy.h"
#include "core/ops/launch.h"
#include "kernels/optimizer/optimizer.h"

namespace nemo {
namespace {

void add_square_sum(ExecContext& ctx, const Tensor& gradients) {
  const Tensor scratch = ctx.empty({kernels::kSquareSumBlocks}, DType::fp64, MemoryTag::workspace);
  with_float_type("grad_norm", gradients.dtype(), [&](auto g) {
    using Grad = decltype(g);
    launch(ctx, "grad_norm", [&] { kernels::square_sum_cpu(ctx.step_state(), gradients.data<Grad>(), gradients.numel(), scratch.data<double>()); },
           [&] { kernels::square_sum_cuda(ctx.step_state(), gradients.data<Grad>(), gradients.numel(), scratch.data<double>(), ctx.stream()); });
  });
}

void update(ExecContext& ctx, const FlatBuffer& flat, const AdamW::Moments& moments, const kernels::AdamWArgs& args) {
  float* const master = flat.master.defined() ? flat.master.data<float>() : nullptr;
  with_float_type("adamw", flat.owned_values.dtype(), [&](auto t) {
    using T = decltype(t);
    with_float_type("adamw", flat.owned_gradients.dtype(), [&](auto g) {
      using Grad = decltype(g);
      with_float_type("adamw", moments.first.dtype(), [&](auto m) {
        using Moment = decltype(m);
        launch(ctx, "adamw",
               [&] { kernels::adamw_cpu(flat.owned_values.data<T>(), master, moments.first.data<Moment>(), moments.second.data<Moment>(), flat.owned_gradients.data<Grad>(), ctx.step_state(), flat.owned_numel, args); },
               [&] { kernels::adamw_cuda(flat.owned_values.data<T>(), master, moments.first.data<Moment>(), moments.second.data<Moment>(), flat.owned_gradients.data<Grad>(), ctx.step_state(), flat.owned_numel, args, ctx.stream()); });
      });
    });
  });
}

}  // namespace

AdamW::AdamW(ExecContext& ctx, ParameterStore& store, const OptimizerConfig& config) : store_(store), config_(config) {
  for (const FlatBuffer& flat : store.flat_buffers()) {
    if (!flat.key.trainable) continue;
    const Moments moments{&flat, ctx.empty({flat.owned_numel}, config.moment_dtype, MemoryTag::optimizer), ctx.empty({flat.owned_numel}, config.moment_dtype, MemoryTag::optimizer)};
    zero(ctx, moments.first);
    zero(ctx, moments.second);
    moments_.push_back(moments);
  }
}

void AdamW::step(ExecContext& ctx, const ReduceSums& reduce_sums) {
  store_.zero_unwritten(ctx);
  for (const Moments& moments : moments_)
    if (moments.flat->copy != Parameter::Copy::second) add_square_sum(ctx, moments.flat->owned_gradients);
  if (reduce_sums) reduce_sums(ctx);
  launch(ctx, "grad_norm", [&] { kernels::finish_grad_norm_cpu(ctx.step_state()); }, [&] { kernels::finish_grad_norm_cuda(ctx.step_state(), ctx.stream()); });
  for (const Moments& moments : moments_) {
    const FlatKey& key = moments.flat->key;
    const kernels::RandomKey rounding = ctx.random_key(random_site(key.block + (key.weight_decay ? ".rounding.decayed" : ".rounding.plain")));
    update(ctx, *moments.flat, moments,
           {.beta1 = static_cast<float>(config_.betas[0]), .beta2 = static_cast<float>(config_.betas[1]), .eps = static_cast<float>(config_.eps),
            .weight_decay = key.weight_decay ? static_cast<float>(config_.weight_decay) : 0.0f, .first_index = moments.flat->owned_begin, .seed = rounding.seed, .site = rounding.site});
  }
}

void set_bias_corrections(kernels::StepState& state, const OptimizerConfig& config) {
  state.bias_correction1 = static_cast<float>(1 - std::pow(config.betas[0], static_cast<double>(state.step)));
  state.bias_correction2 = static_cast<float>(1 - std::pow(config.betas[1], static_cast<double>(state.step)));
}

}  // namespace nemo
