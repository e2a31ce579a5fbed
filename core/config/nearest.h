// The word that a person most likely meant. Not here: what to do about it.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nemo {

// Insertions, deletions, replacements and swaps of neighbours that turn a into b (optimal string alignment).
size_t edit_distance(std::string_view a, std::string_view b);

// The candidate nearest to word, or nothing where none is near enough to be what was meant.
std::optional<std::string> find_nearest(std::string_view word, std::span<const std::string> candidates);

}  // namespace nemo
