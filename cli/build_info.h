// What this binary was built from and with; its .cpp is written by the build (cmake/NemoBuildInfo.cmake).
// Not here: the machine it runs on (cli/host_facts.h).
#pragma once
#include <string>

namespace nemo {

struct BuildInfo {
  std::string version, git_commit, build_type, compiler;
  std::string cuda_toolkit, cuda_architectures;  // empty in a CPU build
  std::string cpu_arch;                          // the -march of the CPU kernels

  bool has_cuda() const { return !cuda_toolkit.empty(); }
  std::string summary() const {
    return "nemo " + version + " (" + git_commit + ", " + (has_cuda() ? "CUDA " + cuda_toolkit : "CPU") + " build)";
  }
};

const BuildInfo& build_info();

}  // namespace nemo
