// The one list of recipe settings whose feature this version does not have yet. They parse, `nemo explain` plans with
// them, and a run refuses them. Not here: settings that can never work together (recipes/consistency.h,
// recipes/plan.h).
#pragma once
#include <string>
#include <vector>

namespace nemo {

struct Recipe;

struct UnavailableSetting {
  std::string key, value, place, available;  // available: what works, e.g. "fp32, bf16-mixed"
};
std::vector<UnavailableSetting> list_unavailable_settings(const Recipe& recipe);

// RecipeError for the first of them.
void require_available(const Recipe& recipe);

}  // namespace nemo
