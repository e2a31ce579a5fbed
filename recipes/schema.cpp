#include "recipes/schema.h"

#include <algorithm>

#include "core/config/bind.h"
#include "core/config/nearest.h"
#include "core/config/print.h"
#include "core/error.h"
#include "models/registry.h"
#include "recipes/consistency.h"

namespace nemo {
namespace {

// The text of one scalar key of the merged tree, where it is given.
const ConfigNode* find_scalar(const ConfigNode& tree, std::string_view section, std::string_view key) {
  const ConfigNode* part = tree.find(section);
  const ConfigNode* node = part != nullptr ? part->find(key) : nullptr;
  return node != nullptr && node->kind == ConfigNode::Kind::scalar ? node : nullptr;
}

[[noreturn]] void fail_unknown_preset(const ConfigNode& node) {
  std::vector<std::string> names;
  for (const Preset& preset : list_presets()) names.emplace_back(preset.name);
  const auto near = find_nearest(node.text, names);
  throw RecipeError{node.origin.place(), "model.preset", "no preset is called " + node.describe(),
                    near ? *near : "nemo recipes ls --presets lists them"};
}

// The preset or family sets every field of the section that is not written: so says each field's origin.
void note_model_start(Recipe& recipe, const std::string& start) {
  const std::vector<Field> fields = list_fields(recipe.model);
  for (const LeafField& leaf : list_leaves(fields))
    recipe.places.set("model." + leaf.path, {.kind = Origin::Kind::preset, .file = start, .line = 0});
}

// Starts recipe.model from its preset or family, so that only what differs has to be written.
void start_model(Recipe& recipe, const ConfigNode& tree) {
  const ConfigNode* preset = find_scalar(tree, "model", "preset");
  const ConfigNode* family = find_scalar(tree, "model", "family");
  if (preset == nullptr) {
    const auto defaults = family != nullptr ? family_defaults(family->text) : std::nullopt;
    if (!defaults) return;  // an unknown family is reported when the field is bound
    recipe.model = *defaults;
    return note_model_start(recipe, "family " + family->text);
  }
  const auto config = find_preset(preset->text);
  if (!config) fail_unknown_preset(*preset);
  if (family != nullptr && family->text != config->family)
    throw RecipeError{
        family->origin.place(), "model.family",
        family->describe() + " contradicts preset " + preset->text + ", which is of family " + config->family,
        "remove one of the two"};
  recipe.model = *config;
  note_model_start(recipe, "preset " + preset->text);
}

// Values that follow from others: each is worked out once, here or in the section that owns it.
void derive_values(Recipe& recipe) {
  Recipe as_written = recipe;
  recipe.model.resolve();
  if (recipe.run.name.empty()) recipe.run.name = std::filesystem::path(recipe.places.file()).stem().string();
  ScheduleConfig& sched = recipe.optim.sched;
  const int64_t after_warmup = std::max<int64_t>(0, recipe.trainer.max_steps - sched.warmup_steps);
  if (sched.name == ScheduleName::wsd && sched.constant_steps == 0)
    sched.constant_steps = std::max<int64_t>(0, after_warmup - sched.decay_steps);
  if (sched.decay_steps == 0) sched.decay_steps = std::max<int64_t>(0, after_warmup - sched.constant_steps);
  for (const FieldDifference& difference : diff_fields(list_fields(as_written), list_fields(recipe)))
    recipe.places.set(difference.path, {.kind = Origin::Kind::derived, .file = "", .line = 0});
}

Recipe bind_recipe(std::vector<ConfigNode> layers, std::span<const std::string> overrides, const std::string& file) {
  Recipe recipe;
  recipe.places = FieldPlaces(file);
  std::vector<Field> fields = list_fields(recipe);
  ConfigNode tree;
  tree.kind = ConfigNode::Kind::section;
  for (const std::string& override : overrides) layers.push_back(parse_override(override));
  for (ConfigNode& layer : layers) {
    check_keys(layer, fields, recipe.notices);
    merge_over(tree, layer);
  }
  start_model(recipe, tree);
  bind_fields(tree, fields, recipe.places);

  derive_values(recipe);
  recipe.model.check(recipe.places.section("model"));
  check_sections(recipe);
  note_settings_without_effect(recipe);
  return recipe;
}

}  // namespace

Recipe load_recipe(const std::string& name_or_path, std::span<const std::string> overrides,
                   const RecipeFolders& folders) {
  const std::filesystem::path file = folders.resolve(name_or_path);
  return bind_recipe(read_recipe_layers(file, folders), overrides, file.string());
}

Recipe parse_recipe(const std::string& yaml, const std::string& file, std::span<const std::string> overrides,
                    const RecipeFolders& folders) {
  return bind_recipe(parse_recipe_layers(yaml, file, folders), overrides, file);
}

std::string print_recipe(const Recipe& recipe) {
  Recipe copy = recipe;  // fields() hands out places to write to
  return print_yaml(list_fields(copy));
}

}  // namespace nemo
