// The data sets and the tokenizer a recipe names, opened and checked against each other and against the model.
#pragma once
#include <memory>
#include <optional>

#include "core/data/dataset.h"
#include "core/tokenizer/tokenizer.h"
#include "recipes/plan.h"
#include "recipes/schema.h"

namespace nemo {

// The recipe's tokenizer; null when its type is none. A char tokenizer without a model is made from data.text.
std::unique_ptr<Tokenizer> open_tokenizer(const Recipe& recipe);

// The plan of a run on so many ranks; tokenizer may be null. RecipeError where nothing says how large the vocabulary is.
Plan plan_run(const Recipe& recipe, const Tokenizer* tokenizer, int64_t world_size = 1);

struct RunData {
  std::shared_ptr<const Dataset> train;
  std::shared_ptr<const Dataset> validation;  // null when the run does not validate
};

// DataError or RecipeError when there is nothing to train on, or ids that the model does not know.
RunData open_data(const Recipe& recipe, const Plan& plan, const Tokenizer* tokenizer);

}  // namespace nemo
