// `nemo explain`: every setting of a recipe with where it came from, and what follows from them, before anything runs.
// Not here: the arithmetic (recipes/plan.h), the estimate of memory (the caller's).
#pragma once
#include <functional>

#include "core/device/arena.h"

namespace CLI {
class App;
}

namespace nemo {

struct Plan;
struct Recipe;

// Predicts one rank's memory, by a walk on the meta device.
using MemoryEstimator = std::function<ArenaStats(const Recipe&, const Plan&)>;

void add_explain_command(CLI::App& app, MemoryEstimator estimate_memory);

}  // namespace nemo
