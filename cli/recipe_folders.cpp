#include "cli/recipe_folders.h"

#include <system_error>

namespace nemo {

RecipeFolders recipe_folders() {
  std::error_code error;
  const std::filesystem::path binary = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  return RecipeFolders({binary / "../share/nemo/recipes", binary / "recipes", NEMO_RECIPE_LIBRARY});
}

}  // namespace nemo
