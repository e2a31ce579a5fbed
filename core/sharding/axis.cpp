#include "core/sharding/axis.h"

namespace nemo {

std::string_view name(Axis axis) {
  constexpr std::string_view kNames[kNumAxes] = {"tp", "cp", "dp", "etp", "ep", "edp", "pp"};
  return kNames[static_cast<int>(axis)];
}

}  // namespace nemo
