#include "core/ops/fill.h"

#include "core/ops/launch.h"
#include "kernels/random/random.h"

namespace nemo {

void fill(ExecContext& ctx, const Tensor& to, float value) {
  with_float_type("fill", to.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(ctx, "fill", [&] { kernels::fill_constant_cpu(to.data<T>(), value, to.numel()); },
           [&] { kernels::fill_constant_cuda(to.data<T>(), value, to.numel(), ctx.stream()); });
  });
}

void fill(ExecContext& ctx, const Tensor& to, const Parameter& parameter, uint64_t seed) {
  if (to.numel() == 0) return;  // a slice that is all vocabulary padding
  const Initializer& init = parameter.initializer;
  if (init.kind == Initializer::Kind::constant) return fill(ctx, to, init.mean);
  const Shape& local = to.shape();
  const int64_t columns = local.numel() / local[0];
  const kernels::SliceShape slice{.rows = local[0], .columns = columns, .row0 = parameter.slice_offset[0],
                                  .column0 = local.rank() > 1 ? parameter.slice_offset[1] : 0,
                                  .global_columns = parameter.global_shape.numel() / parameter.global_shape[0]};
  const kernels::RandomKey key{seed, random_site(parameter.name)};
  with_float_type("fill", to.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(ctx, "fill", [&] { kernels::fill_normal_cpu(to.data<T>(), key, init.mean, init.std, slice); },
           [&] { kernels::fill_normal_cuda(to.data<T>(), key, init.mean, init.std, slice, ctx.stream()); });
  });
}

}  // namespace nemo
