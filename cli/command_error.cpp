#include "cli/command_error.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <new>
#include <numeric>
#include <vector>

namespace nemo {
namespace {

// Levenshtein distance: single-letter insertions, deletions and substitutions.
size_t edit_distance(const std::string& from, const std::string& to) {
  std::vector<size_t> row(to.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < from.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < to.size(); ++j) {
      size_t substituted = diagonal + (from[i] != to[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substituted, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

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
  std::string nearest;
  size_t nearest_distance = 1 + word.size() / 3;  // further away it would be a guess, not a typing slip
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    size_t distance = edit_distance(word, command->get_name());
    if (distance == 0) return;
    if (distance <= nearest_distance) {
      nearest = command->get_name();
      nearest_distance = distance;
    }
  }
  throw UsageError("", word, "is not a nemo command", nearest.empty() ? "nemo --help" : "nemo " + nearest);
}

}  // namespace nemo
