#include "core/config/source.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>

#include "core/config/nearest.h"
#include "core/error.h"

namespace nemo {
namespace fs = std::filesystem;
namespace {

bool looks_like_path(const std::string& text) {
  return text.find('/') != text.npos || text.ends_with(".yaml") || text.ends_with(".yml");
}

std::string read_file(const fs::path& file, const std::string& asked_at) {
  std::error_code error;
  if (!fs::exists(file, error))
    throw RecipeError{asked_at, file.string(), "no such file", "nemo recipes ls lists the shipped recipes"};
  if (!fs::is_regular_file(file, error)) throw RecipeError{asked_at, file.string(), "not a file", "give a .yaml file"};
  std::ifstream in(file, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (!in) throw RecipeError{asked_at, file.string(), "cannot be read", "check its permissions"};
  return text;
}

// Takes `base` out of the tree and returns where it points.
std::optional<fs::path> take_base(ConfigNode& tree, const fs::path& file, const RecipeFolders& folders) {
  const auto entry =
      std::find_if(tree.entries.begin(), tree.entries.end(), [](const ConfigEntry& e) { return e.key == "base"; });
  if (entry == tree.entries.end()) return std::nullopt;
  const ConfigNode base = std::move(entry->value);
  tree.entries.erase(entry);
  if (base.kind != ConfigNode::Kind::scalar)
    throw RecipeError{base.origin.place(), "base", "needs a recipe's name or path, found " + base.describe(),
                      "nemo recipes ls lists names"};
  return folders.resolve(base.text, base.origin.place(), file.parent_path());
}

}  // namespace

std::optional<fs::path> RecipeFolders::find(const std::string& name) const {
  for (const fs::path& folder : folders_) {
    std::error_code error;
    const fs::path file = folder / (name + ".yaml");
    if (fs::is_regular_file(file, error)) return file;
  }
  return std::nullopt;
}

std::vector<std::string> RecipeFolders::names() const {
  std::set<std::string> names;
  for (const fs::path& folder : folders_) {
    std::error_code error;  // a folder that does not exist holds no recipes
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, error))
      if (const std::string stem = entry.path().stem().string();
          entry.path().extension() == ".yaml" && !stem.starts_with('_'))
        names.insert(stem);
  }
  return {names.begin(), names.end()};
}

fs::path RecipeFolders::resolve(const std::string& name_or_path, const std::string& asked_at,
                                const fs::path& relative_to) const {
  if (looks_like_path(name_or_path)) {
    const fs::path file = relative_to / name_or_path;
    std::error_code error;
    if (!fs::exists(file, error))
      throw RecipeError{asked_at, name_or_path, "no such file", "nemo recipes ls lists the shipped recipes"};
    return file;
  }
  if (const auto file = find(name_or_path)) return *file;
  const std::vector<std::string> known = names();
  const auto near = find_nearest(name_or_path, known);
  throw RecipeError{asked_at, name_or_path, "no recipe has this name",
                    near ? *near : "nemo recipes ls, or the path of a .yaml file"};
}

std::vector<ConfigNode> parse_recipe_layers(const std::string& text, const fs::path& file,
                                            const RecipeFolders& folders) {
  std::vector<ConfigNode> layers;
  std::vector<fs::path> chain;
  std::string content = text, asked_at;
  for (fs::path current = file;;) {
    std::error_code error;
    const fs::path identity = fs::weakly_canonical(current, error);
    if (std::find(chain.begin(), chain.end(), identity) != chain.end()) {
      std::string circle;
      for (const fs::path& path : chain) circle += path.filename().string() + " -> ";
      throw RecipeError{asked_at, "base", "leads back to itself: " + circle + identity.filename().string(),
                        "remove one of these bases"};
    }
    chain.push_back(identity);
    const Origin::Kind kind = layers.empty() ? Origin::Kind::recipe : Origin::Kind::base;
    layers.push_back(parse_yaml(content, {.kind = kind, .file = current.string(), .line = 0}));
    const ConfigNode* base = layers.back().find("base");
    asked_at = base != nullptr ? base->origin.place() : "";
    const auto next = take_base(layers.back(), current, folders);
    if (!next) break;
    current = *next;
    content = read_file(current, asked_at);
  }
  std::reverse(layers.begin(), layers.end());
  return layers;
}

std::vector<ConfigNode> read_recipe_layers(const fs::path& file, const RecipeFolders& folders) {
  return parse_recipe_layers(read_file(file, ""), file, folders);
}

}  // namespace nemo
