#include "tests/parallel/ranks.h"

#include <omp.h>

#include <exception>
#include <numeric>
#include <thread>
#include <vector>

namespace nemo::test {

ProcessGroup Rank::world() const {
  std::vector<int> ranks(static_cast<size_t>(world_size));
  std::iota(ranks.begin(), ranks.end(), 0);
  return groups.make("world", ranks);
}

void run_ranks(int world_size, const std::function<void(Rank&)>& body, std::chrono::milliseconds deadline) {
  ThreadHub hub(world_size, deadline);
  std::vector<std::string> errors(static_cast<size_t>(world_size));
  std::vector<std::thread> threads;
  for (int index = 0; index < world_size; ++index) {
    threads.emplace_back([&, index] {
      omp_set_num_threads(1);
      try {
        Runtime runtime(Device{});
        ExecContext ctx(runtime, DType::fp32);
        ThreadGroups groups(hub, index);
        Rank rank{index, world_size, runtime, ctx, groups};
        body(rank);
      } catch (const std::exception& error) {
        errors[static_cast<size_t>(index)] = error.what();
        hub.fail(index, std::string("failed: ") + error.what());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (const auto failed = hub.failed_rank())
    throw std::runtime_error("rank " + std::to_string(*failed) + ": " + errors[static_cast<size_t>(*failed)]);
}

}  // namespace nemo::test
