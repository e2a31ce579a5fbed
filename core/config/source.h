// Finds recipe files by name or path and reads them with what they inherit.
// Not here: what a recipe may hold (recipes/schema.h).
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/config/node.h"

namespace nemo {

// Folders of recipes that are known by name: the first folder that has NAME.yaml wins.
class RecipeFolders {
 public:
  explicit RecipeFolders(std::vector<std::filesystem::path> folders) : folders_(std::move(folders)) {}

  std::optional<std::filesystem::path> find(const std::string& name) const;
  std::vector<std::string> names() const;  // sorted; those that start with '_' are parts of others, and left out

  // A path (ends in .yaml or .yml, or holds a '/') or a name. RecipeError names the nearest where there is none.
  // asked_at: where a recipe asks for it, else empty. Paths are relative to `relative_to`.
  std::filesystem::path resolve(const std::string& name_or_path, const std::string& asked_at = "",
                                const std::filesystem::path& relative_to = "") const;

 private:
  std::vector<std::filesystem::path> folders_;
};

// The file's tree after those of its `base:` chain, most basic first; `base` itself is taken out.
// RecipeError: unreadable file, bad YAML, a base that does not exist or leads back to the file.
std::vector<ConfigNode> read_recipe_layers(const std::filesystem::path& file, const RecipeFolders& folders);

// The same for a recipe that is already in memory; file names it in errors, and its bases are found from there.
std::vector<ConfigNode> parse_recipe_layers(const std::string& text, const std::filesystem::path& file,
                                            const RecipeFolders& folders);

}  // namespace nemo
