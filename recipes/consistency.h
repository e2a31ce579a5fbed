// Whether the sections of a recipe agree with each other, and which settings do nothing beside the others.
// Not here: checks that need a world size or a tokenizer (recipes/plan.h).
#pragma once

namespace nemo {

struct Recipe;

// RecipeError: two data sources, text without a tokenizer, a tokenizer without its file, min_lr above lr, bf16-mixed
// without an fp32 master.
void check_sections(const Recipe& recipe);

// Adds a notice for each written setting that changes nothing, with the reason.
void note_settings_without_effect(Recipe& recipe);

// RecipeError unless the recipe says what to train on; for commands that read data.
void require_data(const Recipe& recipe);

}  // namespace nemo
