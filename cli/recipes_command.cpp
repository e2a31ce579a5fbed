#include "cli/recipes_command.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <memory>

#include "cli/command_error.h"
#include "cli/recipe_arguments.h"
#include "cli/recipe_folders.h"
#include "core/config/nearest.h"
#include "core/config/print.h"
#include "models/decoder/accounting.h"
#include "models/registry.h"
#include "recipes/availability.h"
#include "recipes/plan.h"

namespace nemo {
namespace {

// A recipe's first comment line says what it is.
std::string read_title(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line.starts_with("# ") ? line.substr(2) : "";
}

void list_recipes() {
  const RecipeFolders folders = recipe_folders();
  const std::vector<std::string> names = folders.names();
  size_t width = 0;
  for (const std::string& name : names) width = std::max(width, name.size());
  for (const std::string& name : names)
    std::cout << std::left << std::setw(static_cast<int>(width) + 2) << name << read_title(*folders.find(name)) << '\n';
}

void list_presets_table() {
  std::cout << std::left << std::setw(16) << "preset" << std::right << std::setw(9) << "billions" << std::setw(8)
            << "layers" << std::setw(8) << "hidden" << std::setw(7) << "heads" << std::setw(8) << "groups"
            << std::setw(8) << "ffn" << std::setw(9) << "vocab"
            << "  source\n";
  for (Preset& preset : list_presets()) {
    DecoderConfig& model = preset.config;
    model.resolve();
    std::cout << std::left << std::setw(16) << preset.name << std::right << std::setw(9) << std::fixed
              << std::setprecision(3) << static_cast<double>(count_parameters(model)) / 1e9 << std::setw(8)
              << model.num_layers << std::setw(8) << model.hidden_size << std::setw(7) << model.num_attention_heads
              << std::setw(8) << model.num_query_groups << std::setw(8) << model.ffn_hidden_size << std::setw(9)
              << model.vocab_size << "  " << preset.source << '\n';
  }
}

void show_recipe(const RecipeArguments& arguments, bool source) {
  if (source) {
    const std::filesystem::path file = recipe_folders().resolve(arguments.recipe);
    std::ifstream in(file, std::ios::binary);
    std::cout << in.rdbuf();
    return;
  }
  const Recipe recipe = arguments.load();
  print_notices(recipe);
  std::cout << print_recipe(recipe);
}

void print_keys(const std::string& section) {
  Recipe recipe;  // its values are the defaults
  const std::vector<Field> fields = list_fields(recipe);
  std::vector<std::string> sections;
  for (const Field& field : fields) sections.emplace_back(field.key);
  if (!section.empty() && std::find(sections.begin(), sections.end(), section) == sections.end()) {
    const auto near = find_nearest(section, sections);
    throw UsageError("", section, "is not a section of a recipe", "nemo recipes keys" + (near ? " " + *near : ""));
  }
  for (const Field& part : fields) {
    if (!section.empty() && part.key != section) continue;
    std::cout << part.key << ": " << part.doc << '\n';
    for (const LeafField& leaf : list_leaves(part.fields)) {
      const std::string range = range_text(*leaf.field);
      std::cout << "  " << part.key << '.' << leaf.path << " = " << value_text(*leaf.field) << "   ("
                << type_text(*leaf.field) << (range.empty() ? "" : ", " + range) << ")\n      " << leaf.field->doc;
      for (const std::string_view alias : leaf.field->aliases) std::cout << "; also read as " << alias;
      std::cout << '\n';
    }
  }
}

// Checks each recipe as far as can be seen without its data, tokenizer or ranks. Returns the exit code.
int validate_recipes(std::vector<std::string> arguments, bool all) {
  const RecipeFolders folders = recipe_folders();
  const auto is_override = [](const std::string& word) { return word.find('=') != word.npos; };
  const auto middle = std::stable_partition(arguments.begin(), arguments.end(),
                                            [&](const std::string& word) { return !is_override(word); });
  const std::vector<std::string> overrides(middle, arguments.end());
  arguments.erase(middle, arguments.end());
  if (all) arguments = folders.names();
  if (arguments.empty())
    throw UsageError("nemo recipes validate", "", "no recipe given", "nemo recipes validate FILE.yaml, or --all");

  int code = kExitOk;
  for (const std::string& name : arguments) {
    try {
      const Recipe recipe = load_recipe(name, overrides, folders);
      make_plan(recipe, {.world_size = natural_world_size(recipe), .tokenizer_vocab_size = std::nullopt});
      require_available(recipe);
      for (const std::string& notice : recipe.notices) std::cout << name << ": note: " << notice << '\n';
      std::cout << name << ": ok\n";
    } catch (const RecipeError& error) {
      std::cout << name << ": " << error.what() << '\n';
      code = kExitUsage;
    }
  }
  return code;
}

void add_list(CLI::App& recipes) {
  CLI::App* command = recipes.add_subcommand("ls", "List the shipped recipes, or the named model sizes");
  auto presets = std::make_shared<bool>(false);
  command->add_flag("--presets", *presets, "the values that model.preset takes, with their shapes");
  command->footer("Examples:\n  nemo recipes ls\n  nemo recipes ls --presets");
  command->callback([presets] { *presets ? list_presets_table() : list_recipes(); });
}

void add_show(CLI::App& recipes) {
  CLI::App* command =
      recipes.add_subcommand("show", "Print a recipe with every key resolved; the output is a recipe itself");
  auto arguments = std::make_shared<RecipeArguments>();
  auto source = std::make_shared<bool>(false);
  add_recipe_arguments(*command, *arguments);
  command->add_flag("--source", *source, "the file as it was written, with its comments");
  command->footer(
      "Examples:\n  nemo recipes show gpt2_124m\n  nemo recipes show gpt2_124m --source > mine.yaml\n"
      "  nemo recipes show mine.yaml optim.lr=1e-4 > resolved.yaml");
  command->callback([=] { show_recipe(*arguments, *source); });
}

void add_keys(CLI::App& recipes) {
  CLI::App* command = recipes.add_subcommand("keys", "Document the keys of a recipe: default, type, range and meaning");
  auto section = std::make_shared<std::string>();
  command->add_option("section", *section, "one section, e.g. optim");
  command->footer("Examples:\n  nemo recipes keys\n  nemo recipes keys optim");
  command->callback([section] { print_keys(*section); });
}

void add_validate(CLI::App& recipes) {
  CLI::App* command = recipes.add_subcommand("validate", "Check recipes without running them; exit 2 if one is wrong");
  auto arguments = std::make_shared<std::vector<std::string>>();
  auto all = std::make_shared<bool>(false);
  command->add_option("recipes", *arguments, "names or files, and key.path=value overrides for all of them");
  command->add_flag("--all", *all, "every shipped recipe");
  command->footer(
      "Examples:\n  nemo recipes validate mine.yaml\n  nemo recipes validate gpt2_124m data.global_batch_size=96\n  "
      "nemo recipes validate --all");
  command->callback([=] {
    if (const int code = validate_recipes(*arguments, *all); code != kExitOk) throw CLI::RuntimeError(code);
  });
}

}  // namespace

void add_recipes_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("recipes", "List, print, document and check recipes");
  command->require_subcommand(1);
  command->footer(
      "Examples:\n  nemo recipes ls\n  nemo recipes show gpt2_124m\n  nemo recipes keys model\n  nemo recipes validate "
      "mine.yaml");
  add_list(*command);
  add_show(*command);
  add_keys(*command);
  add_validate(*command);
}

}  // namespace nemo
