// The arguments that every command on a recipe takes: which recipe, and key.path=value overrides.
// Not here: what a command does with it.
#pragma once
#include <string>
#include <vector>

#include "recipes/schema.h"

namespace CLI {
class App;
}

namespace nemo {

struct RecipeArguments {
  std::string recipe;                  // a name or a path
  std::vector<std::string> overrides;  // key.path=value

  Recipe load() const;  // RecipeError says what is wrong and where
};

// Adds the two positionals. arguments must outlive the command.
void add_recipe_arguments(CLI::App& command, RecipeArguments& arguments);

// Prints each of the recipe's notices as one line on standard error.
void print_notices(const Recipe& recipe);

}  // namespace nemo
