#include "parallel/comm/thread_group.h"

#include <atomic>
#include <catch2/catch.hpp>

#include "core/error.h"
#include "core/ops/copy.h"
#include "tests/parallel/comm/collective_checks.h"
#include "tests/parallel/ranks.h"

using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;
using namespace nemo;
using namespace nemo::test;

TEST_CASE("threads: every collective does what its definition says", "[comm]") {
  const int size = GENERATE(1, 2, 3, 4, 8);
  run_ranks(size, [](Rank& rank) { check_collectives(rank.ctx, rank.world(), true); });
}

TEST_CASE("threads: groups in flight at once, memory dropped early", "[comm]") {
  const int size = GENERATE(2, 4);
  run_ranks(size, [](Rank& rank) { check_calls_in_flight(rank.ctx, rank.world(), rank.world()); });
}

TEST_CASE("threads: groups of some of the ranks", "[comm]") {
  run_ranks(6, [](Rank& rank) {
    const int parity = rank.rank % 2;
    const ProcessGroup half = rank.groups.make("half", {parity, parity + 2, parity + 4});
    expect_equal(half.size(), 3, "size");
    expect_equal(half.rank(), rank.rank / 2, "rank");
    check_collectives(rank.ctx, half, true);
  });
}

namespace {

std::string error_of(int size, const std::function<void(Rank&)>& body,
                     std::chrono::milliseconds deadline = std::chrono::seconds(60)) {
  try {
    run_ranks(size, body, deadline);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "no error";
}

void all_reduce(Rank& rank, const ProcessGroup& group, int64_t count, const std::string& label) {
  const Tensor tensor = from_host(rank.ctx, std::vector<float>(static_cast<size_t>(count), 1.0f));
  group.all_reduce(rank.ctx, tensor, Reduction::sum, label).wait(rank.ctx);
}

}  // namespace

TEST_CASE("threads: a rank that fails wakes the others and is the one named", "[comm]") {
  std::atomic<int> woken = 0;
  const std::string error = error_of(3, [&](Rank& rank) {
    const ProcessGroup group = rank.world();
    if (rank.rank == 2) throw std::runtime_error("out of luck");
    try {
      all_reduce(rank, group, 8, "gradients");
    } catch (const CommError& lost) {
      const std::string text = lost.what();
      if (text.find("group world: all_reduce 'gradients' (call 1, step 0): rank 2 failed: out of luck") !=
          std::string::npos)
        ++woken;
      throw;
    }
  });
  CHECK(error == "rank 2: out of luck");
  CHECK(woken == 2);
}

TEST_CASE("threads: an exception with calls in flight does not hang", "[comm]") {
  const std::string error = error_of(2, [](Rank& rank) {
    const ProcessGroup group = rank.world();
    const Tensor tensor = from_host(rank.ctx, std::vector<float>(8, 1.0f));
    if (rank.rank == 1) {
      group.all_reduce(rank.ctx, tensor, Reduction::sum, "one");
      group.recv(rank.ctx, tensor, 0, "never sent");
      throw std::runtime_error("unwound");
    }
    all_reduce(rank, group, 8, "one");
    group.barrier(rank.ctx, "end").wait(rank.ctx);
  });
  CHECK(error == "rank 1: unwound");
}

TEST_CASE("threads: a rank that does not come is named after the deadline", "[comm]") {
  const std::string error = error_of(
      2,
      [](Rank& rank) {
        const ProcessGroup group = rank.world(), other = rank.world();
        all_reduce(rank, rank.rank == 0 ? group : other, 4, "loss");
      },
      std::chrono::milliseconds(100));
  CHECK_THAT(error, Contains("group world: all_reduce 'loss' (call 1, step 0): rank ") &&
                        Contains("has not come to this call within 100 ms"));
}

TEST_CASE("threads: ranks that disagree get an error, not wrong data", "[comm]") {
  CHECK_THAT(error_of(2, [](Rank& rank) { all_reduce(rank, rank.world(), 4 + 4 * rank.rank, "loss"); }),
             Contains("bytes where") && Contains("are expected"));
  CHECK_THAT(error_of(2, [](Rank& rank) { all_reduce(rank, rank.world(), 4, rank.rank == 0 ? "loss" : "norm"); }),
             Contains("is in all_reduce '") && Contains("' here"));
}

TEST_CASE("collectives refuse tensors that do not fit", "[comm]") {
  Runtime runtime{Device{}};
  ExecContext ctx(runtime, DType::fp32);
  const ProcessGroup self;
  const Tensor four = ctx.empty({4}, DType::fp32), eight = ctx.empty({2, 4}, DType::fp32),
               half = ctx.empty({4}, DType::fp16);
  CHECK_THROWS_WITH(self.all_gather(ctx, eight, four, "x"), "all_gather 'x': output: 8 elements are not 1 x 4");
  CHECK_THROWS_WITH(self.all_reduce(ctx, eight.slice(1, 0, 2), Reduction::sum, "x"),
                    "all_reduce 'x': tensor: is not contiguous");
  CHECK_THROWS_WITH(self.all_reduce(ctx, half, Reduction::sum, "x"), "all_reduce 'x': fp16: cannot be reduced");
  CHECK_THROWS_WITH(self.broadcast(ctx, four, 1, "x"), "broadcast 'x': root: 1 is not a rank of the 1");
  CHECK_THROWS_WITH(self.send(ctx, four, 0, "x"), "exchange 'x': peer: is this rank itself");
  const std::vector<int64_t> three{3}, two{2};
  CHECK_THROWS_WITH(self.all_to_all(ctx, eight, three, eight, two, "x"),
                    "all_to_all 'x': output: has 2 rows, its parts 3");
}

TEST_CASE("a group is of ascending ranks of the world, this one among them", "[comm]") {
  ThreadHub hub(4, std::chrono::seconds(1));
  ThreadGroups groups(hub, 1);
  CHECK_THROWS_WITH(groups.make("g", {1, 0}), "group g: ranks: do not ascend from 0 to 3");
  CHECK_THROWS_WITH(groups.make("g", {1, 4}), "group g: ranks: do not ascend from 0 to 3");
  CHECK_THROWS_WITH(groups.make("g", {0, 2}), "group g: rank 1: is not a member");
  CHECK(groups.make("g", {1}).size() == 1);
}
