// `nemo recipes`: lists the shipped recipes and presets, prints a recipe resolved, documents the keys, checks files.
// Not here: where each value comes from and what it leads to (cli/explain_command.h).
#pragma once

namespace CLI {
class App;
}

namespace nemo {

void add_recipes_command(CLI::App& app);

}  // namespace nemo
