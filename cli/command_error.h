// How the command line answers what went wrong: exit codes, the line on stderr, and hints at what was meant.
// Not here: the errors themselves (core/error.h).
#pragma once
#include <exception>
#include <string>

#include "core/error.h"

namespace CLI {
class App;
}

namespace nemo {

inline constexpr int kExitOk = 0, kExitFailure = 1, kExitUsage = 2;  // after a signal: 128 + its number

// Prints "nemo: <message>" on stderr, in colour on a terminal unless NO_COLOR is set, and returns the exit code for it.
int report(const std::exception& error);

// The error for a line CLI11 could not parse, pointing at the help of the command it got to.
UsageError usage_error(const CLI::App& app, const std::string& reason);

// Throws UsageError naming the nearest command when `word` is neither an option nor a command.
void expect_known_command(const CLI::App& app, const std::string& word);

}  // namespace nemo
