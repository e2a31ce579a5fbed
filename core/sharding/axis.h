// The axes of the device mesh, by name: the words in which models say how they may be cut and plans cut them.
// Not here: sizes and ranks (parallel/mesh.h).
#pragma once
#include <cstdint>
#include <string_view>

namespace nemo {

// Two grids lie over the same ranks: tensor, context, data, pipeline for dense parts; expert_tensor, expert,
// expert_data, pipeline for experts. Listed from the axis that varies fastest with the rank.
enum class Axis : uint8_t { tensor, context, data, expert_tensor, expert, expert_data, pipeline };
inline constexpr int kNumAxes = 7;

std::string_view name(Axis axis);  // "tp", "cp", "dp", "etp", "ep", "edp", "pp"

}  // namespace nemo
