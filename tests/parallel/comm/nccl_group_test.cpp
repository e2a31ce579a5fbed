#include "parallel/comm/nccl_group.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <numeric>

#include "core/device/host_buffer.h"
#include "core/ops/copy.h"
#include "kernels/base/cuda_device.h"
#include "kernels/comm/call_mark.h"
#include "kernels/comm/nccl.h"
#include "parallel/store/store_server.h"
#include "tests/parallel/comm/collective_checks.h"
#include "tests/parallel/ranks.h"

using namespace nemo;
using namespace nemo::test;

namespace {

Device gpu(int index) {
  return {.type = DeviceType::cuda, .index = index};
}

// Threads with a GPU each.
void run_nccl(int size, const std::function<void(ExecContext&, NcclGroups&, CallLog&)>& body) {
  const StoreServer server({"127.0.0.1", 0});
  run_ranks(size, [&](Rank& rank) {
    StoreClient store({"127.0.0.1", server.port()}, "", std::chrono::seconds(5));
    Runtime runtime(gpu(rank.rank));
    ExecContext ctx(runtime, DType::fp32);
    const auto log = std::make_shared<CallLog>();
    NcclGroups groups(store, rank.rank, size, gpu(rank.rank), std::chrono::seconds(60), log);
    body(ctx, groups, *log);
    runtime.stream().synchronize();
  });
}

std::vector<int> all(int size) {
  std::vector<int> ranks(static_cast<size_t>(size));
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

}  // namespace

TEST_CASE("NCCL opens and reduces on one GPU", "[comm][cuda]") {
  Runtime runtime(gpu(0));
  ExecContext ctx(runtime, DType::fp32);
  kernels::NcclCommunicator* nccl = kernels::nccl_create(kernels::nccl_make_id(), 0, 1);
  const std::vector<float> values{1.5f, -2.0f, 3.25f};
  const Tensor tensor = from_host(ctx, values), gathered = ctx.empty({3}, DType::fp32),
               part = ctx.empty({3}, DType::fp32);
  kernels::nccl_all_reduce(nccl, tensor.raw(), 3, DType::fp32, kernels::NcclReduction::sum, ctx.stream());
  kernels::nccl_all_gather(nccl, gathered.raw(), tensor.raw(), tensor.bytes(), ctx.stream());
  kernels::nccl_reduce_scatter(nccl, part.raw(), gathered.raw(), 3, DType::fp32, kernels::NcclReduction::max,
                               ctx.stream());
  kernels::nccl_broadcast(nccl, part.raw(), part.bytes(), 0, ctx.stream());
  CHECK(read_fp32(ctx, part) == values);
  kernels::nccl_destroy(nccl);
}

TEST_CASE("a stream marks the calls it is in", "[comm][cuda]") {
  Runtime runtime(gpu(0));
  ExecContext ctx(runtime, DType::fp32);
  const HostBuffer memory(gpu(0), sizeof(kernels::CallMark));
  auto* mark = static_cast<kernels::CallMark*>(memory.data());
  std::memset(memory.data(), 0, sizeof(kernels::CallMark));
  for (uint64_t call : {5u, 9u}) {
    kernels::mark_begin_cuda(mark, call, ctx.stream());
    kernels::mark_end_cuda(mark, ctx.stream());
  }
  kernels::mark_begin_cuda(mark, 7, ctx.stream());
  ctx.synchronize();
  CHECK(mark->begun == 3);
  CHECK(mark->ended == 2);
  CHECK(mark->call == 7);
}

// On a machine of one GPU there is nobody to talk to; the two cases above still run.
TEST_CASE("NCCL: every collective does what its definition says", "[comm][cuda]") {
  const int count = kernels::cuda_device_count();
  for (const int size : {2, 3, 4, 8}) {
    if (size > count) break;
    run_nccl(size, [&](ExecContext& ctx, NcclGroups& groups, CallLog& log) {
      const ProcessGroup world = groups.make("world", all(size)), other = groups.make("world", all(size));
      check_collectives(ctx, world, false);
      check_calls_in_flight(ctx, world, other);
      ctx.synchronize();
      world.barrier(ctx, "end").wait(ctx);
      ctx.synchronize();
      const std::vector<CallPosition> positions = log.positions();
      expect_equal(positions.size(), size_t{2}, "groups");
      expect_equal(positions[0].call, std::string("barrier 'end'"), "last call");
      expect(!positions[0].in_flight, "no call is in flight");
    });
  }
}
