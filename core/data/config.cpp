#include "core/data/config.h"

namespace nemo {

std::span<const std::string_view> enum_names(MockPattern) {
  static constexpr std::string_view kNames[] = {"random", "arange", "copy"};
  return kNames;
}

}  // namespace nemo
