#include <catch2/catch.hpp>
#include <vector>

#include "core/autograd/tape.h"
#include "core/error.h"
#include "core/ops/copy.h"
#include "core/ops/embedding.h"
#include "tests/core/checkpoint/checkpoint_files.h"

using namespace nemo;

TEST_CASE("gathered rows are copies, and their gradients add up where they came from", "[ops]") {
  Runtime runtime(Device{}, false);
  ExecContext ctx(runtime, DType::fp32);
  const Tensor x = ctx.empty({4, 2}, DType::fp32), rows = ctx.empty({3}, DType::int32),
               dy = ctx.empty({3, 2}, DType::fp32);
  write_fp32(ctx, x, std::vector<float>{0, 1, 10, 11, 20, 21, 30, 31}.data());
  upload(ctx, rows, std::vector<int32_t>{3, 1, 3}.data());
  write_fp32(ctx, dy, std::vector<float>{1, 2, 4, 8, 16, 32}.data());

  Tape tape;
  const Recording recording(ctx, tape);
  tape.watch(x);
  const Tensor y = gather_rows(ctx, x, rows);
  CHECK(read_fp32(ctx, y) == std::vector<float>{30, 31, 10, 11, 30, 31});
  tape.backward(ctx, {{y, dy}});
  CHECK(read_fp32(ctx, tape.gradient(x)) == std::vector<float>{0, 0, 4, 8, 0, 0, 17, 34});
  CHECK(test::error_of<ShapeError>([&] { gather_rows(ctx, x.slice(1, 0, 1), rows); }) ==
        "gather_rows: x: is [4, 1], expected a contiguous matrix");
}
