// Which instruction-set extensions the CPU kernels of this build use.
// Not here: what the processor at hand offers (cli/cpu_support.h).
#pragma once
#include <string>
#include <vector>

namespace nemo::kernels {

// Names as Linux spells them in /proc/cpuinfo; empty for a build that uses only the architecture's baseline.
std::vector<std::string> cpu_features_compiled_in();

}  // namespace nemo::kernels
