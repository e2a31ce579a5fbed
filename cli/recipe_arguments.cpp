#include "cli/recipe_arguments.h"

#include <CLI/CLI.hpp>
#include <iostream>

#include "cli/recipe_folders.h"

namespace nemo {

Recipe RecipeArguments::load() const {
  return load_recipe(recipe, overrides, recipe_folders());
}

void add_recipe_arguments(CLI::App& command, RecipeArguments& arguments) {
  command.add_option("recipe", arguments.recipe, "a shipped recipe's name (nemo recipes ls) or a .yaml file")
      ->required();
  command.add_option("overrides", arguments.overrides, "settings put above the recipe's: key.path=value");
}

void print_notices(const Recipe& recipe) {
  for (const std::string& notice : recipe.notices) std::cerr << "note: " << notice << '\n';
}

}  // namespace nemo
