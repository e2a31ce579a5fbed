// What the processor can do, and whether this binary may run on it.
// Not here: the machine's memory, limits and GPUs (cli/host_facts.h).
#pragma once
#include <string>
#include <vector>

namespace nemo {

// The instruction-set features worth naming that this processor and its kernel offer, e.g. "avx2", "avx512_bf16",
// "bf16".
std::vector<std::string> cpu_features();

// Those of `required` that `present` lacks, in order.
std::vector<std::string> missing_features(const std::vector<std::string>& required,
                                          const std::vector<std::string>& present);

// Throws DeviceError when the CPU kernels were compiled for features this processor lacks: better than dying of SIGILL
// later.
void expect_supported_cpu();

}  // namespace nemo
