#include "cli/stop_signals.h"

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>

using nemo::StopSignals;

TEST_CASE("a first signal is remembered with its exit code", "[cli]") {
  for (auto [signal, code] : {std::pair{SIGINT, 130}, std::pair{SIGTERM, 143}}) {
    StopSignals stop;
    CHECK(stop.received() == 0);
    raise(signal);
    CHECK(stop.received() == signal);
    CHECK(stop.exit_code() == code);
  }
}

TEST_CASE("a second signal ends the process, and so does the first once nobody listens", "[cli]") {
  for (bool listening : {true, false}) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      // Catch2 has handlers of its own, which would report a test failure from the child.
      std::signal(SIGTERM, SIG_DFL);
      if (listening) {
        StopSignals stop;
        raise(SIGTERM);
        raise(SIGTERM);
      } else {
        { StopSignals stop; }
        raise(SIGTERM);
      }
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    CHECK(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == SIGTERM);
  }
}
