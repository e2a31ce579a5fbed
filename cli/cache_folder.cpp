#include "cli/cache_folder.h"

#include <cstdlib>

namespace nemo {

std::filesystem::path plan_folder(const std::string& argument) {
  if (argument == "none") return {};
  if (argument != "auto") return argument;
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache == '/')
    return std::filesystem::path(cache) / "nemo";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/')
    return std::filesystem::path(home) / ".cache" / "nemo";
  return {};
}

}  // namespace nemo
