// Where a user's caches lie. Not here: what is cached (core/device/plan_cache.h).
#pragma once
#include <filesystem>
#include <string>

namespace nemo {

// "auto": nemo in $XDG_CACHE_HOME, else in ~/.cache, empty where there is neither; "none": empty; else the path itself.
std::filesystem::path plan_folder(const std::string& argument);

}  // namespace nemo
