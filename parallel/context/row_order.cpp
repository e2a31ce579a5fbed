#include "parallel/context/row_order.h"

#include "core/ops/launch.h"
#include "kernels/embedding/embedding.h"

namespace nemo {

Tensor reordered_rows(ExecContext& ctx, const Tensor& x, const Tensor& order) {
  const Tensor y = ctx.empty(x.shape(), x.dtype());
  const kernels::EmbeddingShape shape{.tokens = order.dim(0), .rows = x.dim(0), .hidden = x.dim(1)};
  with_float_type("reordered_rows", x.dtype(), [&](auto t) {
    using T = decltype(t);
    launch(
        ctx, "reordered_rows",
        [&] { kernels::embedding_forward_cpu(y.data<T>(), false, order.data<int32_t>(), x.data<T>(), shape); },
        [&] {
          kernels::embedding_forward_cuda(y.data<T>(), false, order.data<int32_t>(), x.data<T>(), shape, ctx.stream());
        });
  });
  return y;
}

}  // namespace nemo
