#include "parallel/comm/counting_group.h"

#include <catch2/catch.hpp>

#include "core/error.h"

using namespace nemo;

TEST_CASE("meta groups count the calls and bytes of one rank", "[comm]") {
  Runtime runtime(Device{.type = DeviceType::meta});
  ExecContext ctx(runtime, DType::fp32);
  CountingGroups groups(1, 4);
  const ProcessGroup group = groups.make("dp", {0, 1, 2, 3});
  const Tensor whole = ctx.empty({8, 4}, DType::fp32), part = ctx.empty({2, 4}, DType::fp32);
  group.all_reduce(ctx, whole, Reduction::sum, "a").wait(ctx);
  group.all_reduce(ctx, whole, Reduction::sum, "b").wait(ctx);
  group.reduce_scatter(ctx, part, whole, Reduction::sum, "c").wait(ctx);
  group.all_gather(ctx, whole, part, "d").wait(ctx);
  group.broadcast(ctx, part, 0, "e").wait(ctx);
  group.broadcast(ctx, part, 1, "f").wait(ctx);
  const std::vector<int64_t> rows{1, 4, 3, 0};
  group.all_to_all(ctx, whole, rows, whole, rows, "g").wait(ctx);
  group.exchange(ctx, {{0, part}, {2, part}}, {{0, part}}, "h").wait(ctx);
  group.barrier(ctx, "i").wait(ctx);
  const auto& counts = groups.counts();
  const auto expect = [&](const char* collective, int64_t calls, size_t bytes) {
    CAPTURE(collective);
    CHECK(counts.at({"dp", collective}).calls == calls);
    CHECK(counts.at({"dp", collective}).sent_bytes == bytes);
  };
  expect("all_reduce", 2, 2 * (2 * 128 * 3 / 4));
  expect("reduce_scatter", 1, 96);
  expect("all_gather", 1, 96);
  expect("broadcast", 2, 96);
  expect("all_to_all", 1, 64);
  expect("exchange", 1, 64);
  expect("barrier", 1, 0);
}

TEST_CASE("a counting group refuses data", "[comm]") {
  Runtime runtime{Device{}};
  ExecContext ctx(runtime, DType::fp32);
  CountingGroups groups(0, 2);
  CHECK_THROWS_WITH(groups.make("dp", {0, 1}).barrier(ctx, "x"),
                    "group dp: x: only counts, and there is data to move; try: the meta device");
}
