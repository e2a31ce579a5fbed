#include "parallel/comm/gloo_group.h"

#include <catch2/catch.hpp>
#include <numeric>

#include "core/error.h"
#include "core/ops/copy.h"
#include "parallel/store/store_server.h"
#include "tests/parallel/comm/collective_checks.h"
#include "tests/parallel/ranks.h"

using Catch::Matchers::Contains;
using namespace nemo;
using namespace nemo::test;

namespace {

// Gloo between the threads of run_ranks: sockets and all, only not between processes.
void run_gloo(int size, std::chrono::milliseconds deadline, const std::function<void(Rank&, GlooGroups&)>& body) {
  const StoreServer server({"127.0.0.1", 0});
  run_ranks(size, [&](Rank& rank) {
    StoreClient store({"127.0.0.1", server.port()}, "", std::chrono::seconds(5));
    GlooGroups groups(store, rank.rank, size, deadline, std::make_shared<CallLog>());
    body(rank, groups);
  });
}

std::vector<int> all(int size) {
  std::vector<int> ranks(static_cast<size_t>(size));
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

}  // namespace

TEST_CASE("gloo: every collective does what its definition says", "[comm]") {
  const int size = GENERATE(1, 2, 3, 4, 8);
  run_gloo(size, std::chrono::seconds(60), [&](Rank& rank, GlooGroups& groups) {
    const ProcessGroup world = groups.make("world", all(size));
    check_collectives(rank.ctx, world, true);
    world.barrier(rank.ctx, "end").wait(rank.ctx);  // nobody leaves while others still read
  });
}

TEST_CASE("gloo: groups in flight at once, and groups of some of the ranks", "[comm]") {
  run_gloo(4, std::chrono::seconds(60), [&](Rank& rank, GlooGroups& groups) {
    const ProcessGroup world = groups.make("world", all(4)), other = groups.make("world", all(4));
    check_calls_in_flight(rank.ctx, world, other);
    const int parity = rank.rank % 2;
    check_collectives(rank.ctx, groups.make("half", {parity, parity + 2}), true);
    world.barrier(rank.ctx, "end").wait(rank.ctx);
  });
}

TEST_CASE("gloo: a rank that leaves, and one that does not come, are named", "[comm]") {
  const auto error_of = [](bool leaves) {
    try {
      run_gloo(2, std::chrono::milliseconds(2000), [&](Rank& rank, GlooGroups& groups) {
        const ProcessGroup world = groups.make("world", all(2));
        world.barrier(rank.ctx, "start").wait(rank.ctx);
        if (rank.rank == 1 && leaves) return;
        if (rank.rank == 1) std::this_thread::sleep_for(std::chrono::milliseconds(4000));
        if (rank.rank == 1) return;
        const Tensor tensor = from_host(rank.ctx, std::vector<float>(100, 1.0f));
        world.all_reduce(rank.ctx, tensor, Reduction::sum, "gradients").wait(rank.ctx);
      });
    } catch (const std::runtime_error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  CHECK(error_of(true) ==
        "rank 0: group world: all_reduce 'gradients' (call 2, step 0): rank 1 is gone: it closed the connection");
  CHECK(error_of(false) ==
        "rank 0: group world: all_reduce 'gradients' (call 2, step 0): rank 1 has not come to this call within 2000 ms");
}

TEST_CASE("gloo: ranks that disagree get no wrong data", "[comm]") {
  const bool sizes = GENERATE(true, false);
  const auto disagree = [&](Rank& rank, GlooGroups& groups) {
    const ProcessGroup world = groups.make("world", all(2));
    const Tensor tensor = from_host(rank.ctx, std::vector<float>(sizes && rank.rank == 1 ? 8 : 4, 1.0f));
    const std::string label = !sizes && rank.rank == 1 ? "norm" : "loss";
    world.all_reduce(rank.ctx, tensor, Reduction::sum, label).wait(rank.ctx);
  };
  CHECK_THROWS_WITH(run_gloo(2, std::chrono::milliseconds(2000), disagree), Contains("group world: all_reduce '"));
}

TEST_CASE("gloo: a rank that never comes to the rendezvous is named", "[comm]") {
  const StoreServer server({"127.0.0.1", 0});
  StoreClient store({"127.0.0.1", server.port()}, "", std::chrono::seconds(5));
  CHECK_THROWS_WITH(GlooGroups(store, 0, 2, std::chrono::milliseconds(1000), std::make_shared<CallLog>()),
                    "rendezvous: rank 1: has not come within 1 s; try: start every rank; look at its log");
}
