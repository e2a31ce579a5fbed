// What `nemo doctor` reads about the machine: processors, memory, disk, limits, GPUs and their libraries.
// Not here: what is wrong with it (cli/diagnosis.h).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/base/cuda_device.h"

namespace nemo {

inline constexpr uint64_t kUnlimited = ~uint64_t{0};

struct HostFacts {
  std::string cpu_model;
  std::vector<std::string> cpu_features;
  int num_processors = 0;           // that this process may run on
  std::optional<double> cpu_quota;  // processors' worth of time the control group grants, where it limits
  std::optional<int> omp_num_threads;
  uint64_t memory_bytes = 0, memory_available_bytes = 0;         // no more than the control group grants
  uint64_t disk_free_bytes = 0;                                  // in the working directory
  uint64_t shm_bytes = 0;                                        // size of /dev/shm
  uint64_t open_files_limit = 0, locked_memory_limit_bytes = 0;  // soft limits; kUnlimited
  bool infiniband = false;
};

struct GpuFacts {
  std::string built_for;           // CUDA architectures of this binary, as CMake spells them; empty in a CPU build
  std::string driver;              // version of the NVIDIA kernel driver, empty without one
  std::string unavailable_reason;  // why no GPU can be used, empty when one can
  std::vector<kernels::CudaDeviceInfo> devices;
  kernels::CudaVersions libraries;
};

HostFacts read_host_facts();
GpuFacts read_gpu_facts();

// "7.9 GiB", "64.0 MiB", "unlimited".
std::string describe_bytes(uint64_t bytes);

// "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu ..." -> "550.54.14"; empty when there is no version
// in it.
std::string driver_version_in(const std::string& nvrm_line);

}  // namespace nemo
