// Where the recipes that are known by name lie: beside the binary, else in the source tree it was built from.
// Not here: reading them (core/config/source.h).
#pragma once
#include "core/config/source.h"

namespace nemo {

RecipeFolders recipe_folders();

}  // namespace nemo
