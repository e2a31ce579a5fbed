// Whether a model, a batch and a number of ranks can be cut as the recipe's parallelism asks. Not here: the cutting.
#pragma once
#include <cstdint>

namespace nemo {

struct Recipe;

// RecipeError for the first rule that is broken.
void check_mesh(const Recipe& recipe, int64_t world_size);

}  // namespace nemo
