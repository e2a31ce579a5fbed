// Checks a recipe's tree against a list of fields and writes its values into them. Strict: nothing is ignored.
// Not here: the list (core/config/field.h), the tree (core/config/node.h), writing values out (core/config/print.h).
#pragma once
#include <span>
#include <string>
#include <vector>

#include "core/config/field.h"
#include "core/config/node.h"
#include "core/config/places.h"

namespace nemo {

// Renames aliases to the keys they stand for, adding one notice for each, and checks every key against the fields.
// Done per file, before files are merged. RecipeError: an unknown key (names the nearest), a key given by two names.
void check_keys(ConfigNode& tree, std::span<const Field> fields, std::vector<std::string>& notices);

// Writes the tree's values into the fields; keys that the tree lacks are left alone. Each value's origin goes to
// places. RecipeError: a wrong type, a value that a constraint forbids.
void bind_fields(const ConfigNode& tree, std::span<const Field> fields, FieldPlaces& places);

}  // namespace nemo
