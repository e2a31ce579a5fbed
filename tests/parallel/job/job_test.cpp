#include "parallel/job/job.h"

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <fstream>
#include <numeric>
#include <sstream>

#include "core/error.h"
#include "core/ops/copy.h"
#include "tests/temporary_folder.h"

using Catch::Matchers::Contains;
using namespace nemo;
using std::chrono::milliseconds;

namespace {

// Ranks that are processes, forked from the test. What a body says or throws is kept; `on_hang` ends a rank with
// code 9.
class Processes {
 public:
  using Body = std::function<void(Job&, ExecContext&, const std::function<void(const std::string&)>& say)>;

  Processes(int world_size, milliseconds deadline, const Body& body,
            const std::function<void(JobOptions&)>& change = {})
      : server_(Endpoint{"127.0.0.1", 0}) {
    for (int rank = 0; rank < world_size; ++rank) {
      const pid_t child = fork();
      if (child == 0) run(rank, world_size, deadline, body, change);
      pids_.push_back(child);
    }
  }
  ~Processes() {
    for (const pid_t pid : pids_)
      if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, nullptr, 0);
      }
  }

  pid_t pid(int rank) const { return pids_[static_cast<size_t>(rank)]; }
  int exit_code(int rank) {
    int status = 0;
    waitpid(pids_[static_cast<size_t>(rank)], &status, 0);
    pids_[static_cast<size_t>(rank)] = 0;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
  std::string said(int rank) const {
    std::ifstream file(folder_ / std::to_string(rank));
    return std::string(std::istreambuf_iterator<char>(file), {});
  }
  void await(int rank, const std::string& text) const {
    for (int i = 0; i < 1000 && said(rank).find(text) == std::string::npos; ++i) usleep(10000);
  }

 private:
  [[noreturn]] void run(int rank, int world_size, milliseconds deadline, const Body& body,
                        const std::function<void(JobOptions&)>& change) {
    for (const int signal : {SIGTERM, SIGINT, SIGSEGV, SIGABRT})
      std::signal(signal, SIG_DFL);  // Catch2's are for the test
    const std::string file = folder_ / std::to_string(rank);
    const auto say = [&](const std::string& text) { std::ofstream(file, std::ios::app) << text << std::flush; };
    int code = 0;
    try {
      JobOptions options{.rank = rank,
                         .world_size = world_size,
                         .store = {"127.0.0.1", server_.port()},
                         .place = "host:" + std::to_string(getpid()),
                         .facts = {{"optim.lr", "0.1"}},
                         .start_timeout = milliseconds(10000),
                         .deadline = deadline};
      options.on_hang = [&](const std::string& report) {
        say(report);
        _exit(9);
      };
      if (change) change(options);
      Job job(options);
      Runtime runtime{Device{}};
      ExecContext ctx(runtime, DType::fp32);
      body(job, ctx, say);
    } catch (const std::exception& error) {
      say(error.what());
      code = 1;
    }
    _exit(code);
  }

  test::TemporaryFolder folder_;
  StoreServer server_;
  std::vector<pid_t> pids_;
};

ProcessGroup world_of(Job& job) {
  std::vector<int> ranks(static_cast<size_t>(job.world_size()));
  std::iota(ranks.begin(), ranks.end(), 0);
  return job.groups(Device{}).make("dp", ranks);
}

// Steps of one reduction each, for ever or until they are agreed to end.
int64_t take_steps(Job& job, ExecContext& ctx, const std::function<void(int64_t)>& between = {}) {
  const ProcessGroup group = world_of(job);
  for (int64_t step = 1;; ++step) {
    const bool last = job.stop().begin_step(step);
    job.log().set_step(step);
    const Tensor tensor = from_host(ctx, std::vector<float>(1000, 1.0f));
    group.all_reduce(ctx, tensor, Reduction::sum, "gradients").wait(ctx);
    if (between) between(step);
    if (last) return step;
  }
}

}  // namespace

TEST_CASE("processes agree, reduce and leave together", "[job]") {
  Processes ranks(3, milliseconds(20000), [](Job& job, ExecContext& ctx, const auto& say) {
    const Tensor tensor = from_host(ctx, std::vector<float>{static_cast<float>(job.rank() + 1)});
    world_of(job).all_reduce(ctx, tensor, Reduction::sum, "sum").wait(ctx);
    say(std::to_string(*tensor.data<float>()));
  });
  for (int rank = 0; rank < 3; ++rank) {
    CHECK(ranks.exit_code(rank) == 0);
    CHECK(ranks.said(rank) == "6.000000");
  }
}

TEST_CASE("ranks that differ are told apart by rank 0, once", "[job]") {
  Processes ranks(
      3, milliseconds(5000), [](Job&, ExecContext&, const auto&) {},
      [](JobOptions& options) {
        if (options.rank == 2) options.facts = {{"optim.lr", "0.2"}};
      });
  for (int rank = 0; rank < 3; ++rank) CHECK(ranks.exit_code(rank) == 1);
  CHECK(ranks.said(0) ==
        "start: rank 2 differs: optim.lr is 0.2, on rank 0 0.1; try: the same nemo, recipe and number of ranks on "
        "every rank");
  CHECK_THAT(ranks.said(1), Contains("rank 1: ends: the ranks are not alike"));
}

TEST_CASE("a rank that is there twice, and one that is missing, are named", "[job]") {
  const auto nothing = [](Job&, ExecContext&, const auto&) {};
  Processes twice(2, milliseconds(2000), nothing, [](JobOptions& options) {
    options.rank = 0;
    options.start_timeout = milliseconds(1000);
  });
  const int first = twice.exit_code(0), second = twice.exit_code(1);
  CHECK(first + second == 2);
  const std::string all = twice.said(0) + twice.said(1);
  CHECK_THAT(all, Contains("start: rank 0: is there twice: host:"));
  CHECK_THAT(all, Contains("start: rank 1 of 2 has not come within 1 s"));
}

TEST_CASE("a rank that dies is named by the others at once", "[job]") {
  Processes ranks(3, milliseconds(20000), [](Job& job, ExecContext& ctx, const auto& say) {
    take_steps(job, ctx, [&](int64_t step) {
      if (step == 3) say("ready");
      if (step == 3 && job.rank() == 1) raise(SIGKILL);
    });
  });
  CHECK(ranks.exit_code(1) == 128 + SIGKILL);
  CHECK(ranks.exit_code(0) == 1);
  CHECK(ranks.exit_code(2) == 1);
  CHECK_THAT(ranks.said(0) + ranks.said(2),
             Contains("group dp: all_reduce 'gradients' (call 4, step 4): rank 1 is gone: it closed the connection"));
}

TEST_CASE("a rank that is stopped is named within the deadline, with where all stand", "[job]") {
  Processes ranks(3, milliseconds(1000), [](Job& job, ExecContext& ctx, const auto& say) {
    take_steps(job, ctx, [&](int64_t step) {
      if (step != 2 || job.rank() != 2) return;
      say("stopping");
      raise(SIGSTOP);
    });
  });
  ranks.await(2, "stopping");
  const auto start = std::chrono::steady_clock::now();
  CHECK(ranks.exit_code(0) == 9);
  CHECK(ranks.exit_code(1) == 9);
  CHECK(std::chrono::steady_clock::now() - start < milliseconds(6000));
  const std::string report = ranks.said(0) + ranks.said(1);
  CAPTURE(report);
  CHECK_THAT(report, Contains(" s in group dp for all_reduce 'gradients' (call 3) at step 3\n  does not answer: rank "
                              "2\n  has come to it: ranks 0-1\n"));
  CHECK_THAT(report, Contains("  ranks 0-1: step 3; dp: all_reduce 'gradients' (call 3, step 3) in flight\n  rank 2: "
                              "no answer: stopped, ended, or its machine is cut off\n"));
}

TEST_CASE("a rank that falls behind is named with where it is", "[job]") {
  Processes ranks(2, milliseconds(700), [](Job& job, ExecContext& ctx, const auto&) {
    take_steps(job, ctx, [&](int64_t step) {
      if (step == 2 && job.rank() == 1) sleep(60);
    });
  });
  CHECK(ranks.exit_code(0) == 9);
  CHECK(ranks.exit_code(1) == 9);
  CHECK_THAT(ranks.said(0), Contains("  has not come to it: rank 1\n") &&
                                Contains("rank 1: step 2; dp: all_reduce 'gradients' (call 2, step 2) ended"));
  CHECK(ranks.said(1).empty());
}

TEST_CASE("a stop asked of one rank ends all of them after the same step", "[job]") {
  const int asked = GENERATE(0, 1, 2);
  Processes ranks(3, milliseconds(20000), [asked](Job& job, ExecContext& ctx, const auto& say) {
    const int64_t last = take_steps(job, ctx, [&](int64_t step) {
      if (step == 20 && job.rank() == asked) job.stop().ask();
    });
    say(std::to_string(last));
  });
  for (int rank = 0; rank < 3; ++rank) CHECK(ranks.exit_code(rank) == 0);
  CHECK(std::stoi(ranks.said(0)) >= 22);
  CHECK(ranks.said(1) == ranks.said(0));
  CHECK(ranks.said(2) == ranks.said(0));
}

TEST_CASE("ranks that do not step in unison still stop after the same step", "[job]") {
  // No collective holds them together: only the agreement does.
  Processes ranks(4, milliseconds(20000), [](Job& job, ExecContext&, const auto& say) {
    for (int64_t step = 1;; ++step) {
      const bool last = job.stop().begin_step(step);
      if (job.rank() == 3 && step == 5) job.stop().ask();
      usleep(static_cast<useconds_t>(1000 + 3000 * job.rank()));
      if (last) return say(std::to_string(step));
    }
  });
  for (int rank = 0; rank < 4; ++rank) CHECK(ranks.exit_code(rank) == 0);
  for (int rank = 1; rank < 4; ++rank) CHECK(ranks.said(rank) == ranks.said(0));
}

TEST_CASE("where rank 0 serves the store itself all ranks still leave well", "[job]") {
  FileDescriptor probe = listen_on({"127.0.0.1", 0});
  const uint16_t port = local_port(probe);
  probe = FileDescriptor();
  Processes ranks(
      3, milliseconds(20000),
      [](Job& job, ExecContext& ctx, const auto&) { world_of(job).barrier(ctx, "b").wait(ctx); },
      [port](JobOptions& options) {
        options.store.port = port;
        options.serves_store = options.rank == 0;
      });
  for (int rank = 0; rank < 3; ++rank) CHECK(ranks.exit_code(rank) == 0);
}

TEST_CASE("positions survive being written; equal ranks share a line", "[job]") {
  const CallPosition stuck{
      .group = "tp", .ranks = {0, 1, 2, 3}, .sequence = 7, .in_flight = true, .call = "all_gather 'x'", .step = 4};
  CallPosition earlier = stuck;
  earlier.sequence = 6;
  earlier.in_flight = false;
  const RankPositions there = read_positions(write_positions({.answered = true, .step = 4, .groups = {stuck}}));
  REQUIRE(there.groups.size() == 1);
  CHECK(there.groups[0].ranks == stuck.ranks);
  CHECK(there.groups[0].sequence == 7);
  const std::string report =
      describe_hang(0, stuck, 3.0, {there, there, {.answered = true, .step = 4, .groups = {earlier}}, there});
  CHECK(report ==
        "rank 0 has waited 3.0 s in group tp for all_gather 'x' (call 7) at step 4\n  has not come to it: rank 2\n  "
        "has come to it: ranks 0-1, 3\nwhere the ranks stand:\n"
        "  ranks 0-1, 3: step 4; tp: all_gather 'x' (call 7, step 4) in flight\n  rank 2: step 4; tp: all_gather 'x' "
        "(call 6, step 4) ended\n");
  CHECK_FALSE(read_positions("garbage").answered);
}
