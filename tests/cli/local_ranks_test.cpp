#include "cli/local_ranks.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <thread>

#include "tests/temporary_folder.h"

using Catch::Matchers::Contains;
using namespace nemo;

namespace {

struct Outcome {
  LocalRanksResult result;
  std::vector<std::string> lines;
  double seconds;
};

Outcome run_script(const std::string& script, int num_ranks,
                   std::chrono::milliseconds grace = std::chrono::milliseconds(8000)) {
  const SignalQueue signals;
  Outcome outcome;
  const auto start = std::chrono::steady_clock::now();
  outcome.result =
      run_local_ranks(signals, {.command = {"/bin/sh", "-c", script},
                                .num_ranks = num_ranks,
                                .world_size = num_ranks,
                                .environment = {"GREETING=hello"},
                                .grace = grace,
                                .on_line = [&](const std::string& line) { outcome.lines.push_back(line); }});
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::sort(outcome.lines.begin(), outcome.lines.end());
  return outcome;
}

bool runs(pid_t process) {
  return kill(process, 0) == 0;
}

pid_t read_pid(const std::string& file) {
  pid_t process = 0;
  for (int i = 0; i < 200 && process == 0; ++i) {
    std::ifstream(file) >> process;
    if (process == 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return process;
}

}  // namespace

TEST_CASE("ranks learn who they are; what others than rank 0 print is prefixed", "[launch]") {
  const Outcome outcome =
      run_script("[ $RANK = 0 ] || { echo $GREETING $RANK/$WORLD_SIZE $LOCAL_RANK; printf 'no end' >&2; }", 3);
  CHECK(outcome.result.exit_code == 0);
  CHECK_FALSE(outcome.result.failed_rank.has_value());
  CHECK(outcome.lines ==
        std::vector<std::string>{"[rank 1] hello 1/3 1", "[rank 1] no end", "[rank 2] hello 2/3 2", "[rank 2] no end"});
}

TEST_CASE("the first rank that fails is named and the others are ended", "[launch]") {
  const Outcome exits = run_script("[ $RANK = 1 ] && exit 7; exec sleep 60", 3);
  CHECK(exits.result.exit_code == 7);
  CHECK(exits.result.failed_rank == 1);
  CHECK_THAT(exits.result.reason, Contains("rank 1 (process ") && Contains(") exited with code 7"));
  CHECK(exits.seconds < 5);
  const Outcome killed = run_script("[ $RANK = 2 ] && kill -9 $$; exec sleep 60", 3);
  CHECK(killed.result.exit_code == 137);
  CHECK_THAT(killed.result.reason, Contains("rank 2") && Contains("was ended by signal 9 (Killed)"));
}

TEST_CASE("a rank that will not end, or is stopped, is killed after the grace", "[launch]") {
  for (const char* script : {"trap '' TERM; [ $RANK = 0 ] && exit 3; while :; do sleep 1; done",
                             "[ $RANK = 0 ] && { sleep 0.2; exit 3; }; kill -STOP $$; sleep 60"}) {
    const Outcome outcome = run_script(script, 2, std::chrono::milliseconds(300));
    CHECK(outcome.result.exit_code == 3);
    CHECK(outcome.seconds < 5);
  }
}

TEST_CASE("a program that is not there is said to be so", "[launch]") {
  const SignalQueue signals;
  const LocalRanksResult result =
      run_local_ranks(signals, {.command = {"/no/such/program"}, .num_ranks = 2, .world_size = 2, .on_line = {}});
  CHECK(result.exit_code == 127);
  CHECK_THAT(result.reason, Contains("could not be started"));
}

TEST_CASE("a signal is passed on once, and ranks that stop well are no failure", "[launch]") {
  const test::TemporaryFolder folder;
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const SignalQueue signals;
    const std::string script =
        "trap 'exit 143' TERM; echo $$ > " + (folder / "rank") + "$RANK; while :; do sleep 0.05; done";
    _exit(
        run_local_ranks(signals, {.command = {"/bin/sh", "-c", script}, .num_ranks = 2, .world_size = 2, .on_line = {}})
            .exit_code);
  }
  const pid_t ranks[] = {read_pid(folder / "rank0"), read_pid(folder / "rank1")};
  kill(child, SIGTERM);
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 143);
  for (const pid_t rank : ranks) CHECK_FALSE(runs(rank));
}

TEST_CASE("no rank outlives a launcher that is killed", "[launch]") {
  const test::TemporaryFolder folder;
  prctl(PR_SET_CHILD_SUBREAPER, 1);  // so that orphans would be found here
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const SignalQueue signals;
    const std::string script = "echo $$ > " + (folder / "rank") + "$RANK; exec sleep 60";
    _exit(
        run_local_ranks(signals, {.command = {"/bin/sh", "-c", script}, .num_ranks = 2, .world_size = 2, .on_line = {}})
            .exit_code);
  }
  const pid_t ranks[] = {read_pid(folder / "rank0"), read_pid(folder / "rank1")};
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  for (const pid_t rank : ranks) {
    REQUIRE(rank > 0);
    int status = 0;
    CHECK(waitpid(rank, &status, 0) == rank);
    CHECK(WIFSIGNALED(status));
  }
}
