// What a training run would take of the device's memory, found by walking one step on the meta device: the same model,
// tape, optimizer and arena, without data.
#pragma once
#include "core/device/arena.h"
#include "recipes/plan.h"
#include "recipes/schema.h"

namespace nemo {

// Peak of one rank, by tag. stands_for: the kind of device the run is meant for. The plan must know the vocabulary.
ArenaStats estimate_memory(const Recipe& recipe, const Plan& plan, DeviceType stands_for);

}  // namespace nemo
