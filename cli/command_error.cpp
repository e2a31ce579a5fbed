#include "cli/command_error.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <new>
#include <optional>
#include <vector>

#include "core/config/nearest.h"

namespace nemo {
namespace {

int exit_code(const std::exception& error) {
  bool usage = dynamic_cast<const UsageError*>(&error) || dynamic_cast<const RecipeError*>(&error);
  return usage ? kExitUsage : kExitFailure;
}

}  // namespace

int report(const std::exception& error) {
  bool colour = isatty(STDERR_FILENO) && std::getenv("NO_COLOR") == nullptr;
  std::cerr << (colour ? "\033[1;31mnemo:\033[0m " : "nemo: ");
  if (dynamic_cast<const Error*>(&error)) {
    std::cerr << error.what() << '\n';
  } else if (dynamic_cast<const std::bad_alloc*>(&error)) {
    std::cerr << "out of host memory; try: a smaller data.micro_batch_size, model.seq_length or model\n";
  } else {
    std::cerr << "internal error: " << error.what() << "; try: nemo doctor, and report it with the command line\n";
  }
  return exit_code(error);
}

UsageError usage_error(const CLI::App& app, const std::string& reason) {
  std::string path = app.get_name();
  const CLI::App* deepest = &app;
  while (!deepest->get_subcommands().empty()) {
    deepest = deepest->get_subcommands().front();
    path += " " + deepest->get_name();
  }
  return UsageError(path == app.get_name() ? "" : path, "", reason, path + " --help");
}

void expect_known_command(const CLI::App& app, const std::string& word) {
  if (word.empty() || word[0] == '-') return;
  std::vector<std::string> commands;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) commands.push_back(command->get_name());
  if (std::find(commands.begin(), commands.end(), word) != commands.end()) return;
  const std::optional<std::string> nearest = find_nearest(word, commands);
  throw UsageError("", word, "is not a nemo command", nearest ? "nemo " + *nearest : "nemo --help");
}

}  // namespace nemo
