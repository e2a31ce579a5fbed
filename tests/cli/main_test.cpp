#include <sys/wait.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "tests/cli/nemo_process.h"

using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;
using nemo::testing::run_nemo;

TEST_CASE("help goes to standard output with examples and exit codes", "[cli]") {
  for (const char* option : {"--help", "-h"}) {
    auto result = run_nemo({option});
    CHECK(result.exit_code == 0);
    CHECK_THAT(result.out,
               Contains("Subcommands:") && Contains("Examples:") && Contains("Exit codes: 0 ok, 2 bad usage"));
    CHECK(result.err.empty());
  }
}

TEST_CASE("every command has help with an example of itself", "[cli]") {
  const std::string help = run_nemo({"--help"}).out;
  const size_t start = help.find("Subcommands:\n"), end = help.find("\n\n", start);
  REQUIRE(end != std::string::npos);
  std::istringstream lines(help.substr(start, end - start));
  std::string line;
  std::getline(lines, line);
  int num_commands = 0;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    CAPTURE(command);
    auto result = run_nemo({command, "--help"});
    CHECK(result.exit_code == 0);
    CHECK_THAT(result.out, Contains("Examples:") && Contains("  nemo " + command));
    ++num_commands;
  }
  CHECK(num_commands >= 2);
}

TEST_CASE("no command prints help on standard error and is a usage error", "[cli]") {
  auto result = run_nemo({});
  CHECK(result.exit_code == 2);
  CHECK(result.out.empty());
  CHECK_THAT(result.err, Contains("Subcommands:"));
}

TEST_CASE("a misspelt command is answered with the nearest one", "[cli]") {
  auto result = run_nemo({"docter"});
  CHECK(result.exit_code == 2);
  CHECK(result.err == "nemo: docter: is not a nemo command; try: nemo doctor\n");
  CHECK(run_nemo({"xyzzy"}).err == "nemo: xyzzy: is not a nemo command; try: nemo --help\n");
}

TEST_CASE("an unknown option names the help of its command", "[cli]") {
  auto result = run_nemo({"version", "--jsn"});
  CHECK(result.exit_code == 2);
  CHECK(result.out.empty());
  CHECK(result.err == "nemo: nemo version: The following argument was not expected: --jsn; try: nemo version --help\n");
  CHECK(run_nemo({"--nonsense"}).exit_code == 2);
}

TEST_CASE("output that cannot be written is a failure", "[cli]") {
  // The shell opens the device; run_nemo has no other way to hand over a full one.
  const std::string binary = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "nemo";
  const int status = std::system((binary + " version >/dev/full 2>/dev/null").c_str());
  CHECK(WEXITSTATUS(status) == 1);
}
