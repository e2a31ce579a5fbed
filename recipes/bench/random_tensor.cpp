#include "recipes/bench/random_tensor.h"

#include "core/ops/launch.h"
#include "kernels/random/random.h"

namespace nemo {
namespace {

// Calls draw(first element, slice) for rows of a width that suits the kernels, and for what is left of the last.
template <class Draw>
void for_each_part(int64_t count, const Draw& draw) {
  constexpr int64_t kColumns = 1024;
  const int64_t rows = count / kColumns;
  if (rows > 0) draw(0, kernels::SliceShape{.rows = rows, .columns = kColumns, .global_columns = kColumns});
  if (count % kColumns > 0)
    draw(rows * kColumns,
         kernels::SliceShape{.rows = 1, .columns = count % kColumns, .row0 = rows, .global_columns = kColumns});
}

constexpr const char* kSite = "bench";

}  // namespace

Tensor random_tensor(ExecContext& ctx, const Shape& shape, DType dtype, uint64_t number) {
  const Tensor x = ctx.empty(shape, dtype);
  const kernels::RandomKey key{.seed = number, .site = random_site(kSite)};
  with_float_type("bench", dtype, [&](auto t) {
    using T = decltype(t);
    for_each_part(x.numel(), [&](int64_t first, const kernels::SliceShape& part) {
      launch(
          ctx, "bench", [&] { kernels::fill_normal_cpu(x.data<T>() + first, key, 0, 1, part); },
          [&] { kernels::fill_normal_cuda(x.data<T>() + first, key, 0, 1, part, ctx.stream()); });
    });
  });
  return x;
}

Tensor uniform_tensor(ExecContext& ctx, const Shape& shape, DType dtype, uint64_t number) {
  const Tensor x = ctx.empty(shape, dtype);
  const kernels::RandomKey key{.seed = number, .site = random_site(kSite)};
  with_float_type("bench", dtype, [&](auto t) {
    using T = decltype(t);
    for_each_part(x.numel(), [&](int64_t first, const kernels::SliceShape& part) {
      launch(
          ctx, "bench", [&] { kernels::fill_uniform_cpu(x.data<T>() + first, key, 0, 1, part); },
          [&] { kernels::fill_uniform_cuda(x.data<T>() + first, key, 0, 1, part, ctx.stream()); });
    });
  });
  return x;
}

}  // namespace nemo
