#include "cli/cpu_support.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <sstream>

#include "core/error.h"
#include "kernels/base/cpu_features.h"

namespace nemo {

std::vector<std::string> cpu_features() {
  // Linux lists what both the processor and the kernel support: "flags" on x86-64, "Features" on Arm64.
  static constexpr const char* kWorthNaming[] = {
      "avx",         "avx2",        "fma",      "f16c",    "bmi2", "avx512f", "avx512bw", "avx512vl",
      "avx512_vnni", "avx512_bf16", "amx_bf16",                                                     // x86-64
      "asimd",       "fphp",        "asimdhp",  "asimddp", "sve",  "sve2",    "bf16",     "i8mm"};  // Arm64
  std::ifstream file("/proc/cpuinfo");
  std::vector<std::string> present;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("flags") && !line.starts_with("Features")) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    present.assign(std::istream_iterator<std::string>(words), {});
    break;
  }
  std::vector<std::string> named;
  for (const char* feature : kWorthNaming) {
    if (std::find(present.begin(), present.end(), feature) != present.end()) named.emplace_back(feature);
  }
  return named;
}

std::vector<std::string> missing_features(const std::vector<std::string>& required,
                                          const std::vector<std::string>& present) {
  std::vector<std::string> missing;
  for (const std::string& feature : required) {
    if (std::find(present.begin(), present.end(), feature) == present.end()) missing.push_back(feature);
  }
  return missing;
}

void expect_supported_cpu() {
  std::vector<std::string> present = cpu_features();
  if (present.empty()) return;  // no /proc/cpuinfo: nothing to compare with
  std::string list;
  for (const std::string& feature : missing_features(kernels::cpu_features_compiled_in(), present))
    list += " " + feature;
  if (list.empty()) return;
  throw DeviceError("", "processor", "lacks what this binary was compiled for:" + list,
                    "a build for this processor: cmake -DNEMO_CPU_ARCH=native, or x86-64-v3 for most");
}

}  // namespace nemo
