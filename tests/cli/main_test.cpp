#include <sys/wait.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

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

namespace {

// The first words of the lines below "Subcommands:".
std::vector<std::string> commands_of(const std::string& help) {
  std::vector<std::string> commands;
  const size_t start = help.find("Subcommands:\n");
  if (start == std::string::npos) return commands;
  std::istringstream lines(help.substr(start, help.find("\n\n", start) - start));
  std::string line, command;
  std::getline(lines, line);
  while (std::getline(lines, line) && std::istringstream(line) >> command) commands.push_back(command);
  return commands;
}

// Returns how many commands there are below `path`.
int expect_examples(const std::vector<std::string>& path) {
  std::string spelled = "nemo";
  for (const std::string& word : path) spelled += " " + word;
  CAPTURE(spelled);
  std::vector<std::string> arguments = path;
  arguments.push_back("--help");
  const auto result = run_nemo(arguments);
  CHECK(result.exit_code == 0);
  CHECK_THAT(result.out, Contains("Examples:") && Contains("  " + spelled + " "));
  int num_commands = 0;
  for (const std::string& command : commands_of(result.out)) {
    std::vector<std::string> below = path;
    below.push_back(command);
    num_commands += 1 + expect_examples(below);
  }
  return num_commands;
}

}  // namespace

TEST_CASE("every command has help with an example of itself", "[cli]") { CHECK(expect_examples({}) >= 15); }

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
