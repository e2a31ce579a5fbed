#include "cli/diagnosis.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <sstream>

namespace nemo {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20, kGiB = uint64_t{1} << 30;

void diagnose_processors(const HostFacts& host, std::vector<Finding>& findings) {
  int usable = host.cpu_quota ? std::max(1, static_cast<int>(std::ceil(*host.cpu_quota))) : host.num_processors;
  int threads = host.omp_num_threads.value_or(host.num_processors);
  if (threads > usable) {
    findings.push_back(
        {Severity::warning, "processors",
         std::to_string(threads) + " threads would share " + std::to_string(usable) + " processors' worth of time",
         "export OMP_NUM_THREADS=" + std::to_string(usable)});
  } else if (threads < usable) {
    findings.push_back(
        {Severity::note, "processors",
         "OMP_NUM_THREADS=" + std::to_string(threads) + " leaves " + std::to_string(usable - threads) + " idle",
         "unset OMP_NUM_THREADS, unless something else runs here"});
  }
}

void diagnose_space(const HostFacts& host, std::vector<Finding>& findings) {
  if (host.memory_available_bytes < kGiB) {
    findings.push_back({Severity::warning, "memory",
                        "only " + describe_bytes(host.memory_available_bytes) + " are free",
                        "end what else runs here"});
  }
  if (host.disk_free_bytes < 256 * kMiB) {
    findings.push_back({Severity::blocker, "disk",
                        "no room for a checkpoint: " + describe_bytes(host.disk_free_bytes) + " free here",
                        "free some, or set run.results_dir to a larger disk"});
  } else if (host.disk_free_bytes < 20 * kGiB) {
    findings.push_back(
        {Severity::warning, "disk",
         describe_bytes(host.disk_free_bytes) + " free here; a 1B-parameter checkpoint takes about 14 GiB",
         "set run.results_dir to a larger disk, or checkpoint.keep_last"});
  }
}

void diagnose_limits(const HostFacts& host, const GpuFacts& gpu, std::vector<Finding>& findings) {
  if (host.open_files_limit < 1024) {
    findings.push_back(
        {Severity::warning, "open files", "the limit is " + std::to_string(host.open_files_limit), "ulimit -n 65536"});
  }
  if (host.infiniband && host.locked_memory_limit_bytes != kUnlimited) {
    findings.push_back({Severity::warning, "locked memory", "InfiniBand cannot register buffers under a limit",
                        "ulimit -l unlimited, or LimitMEMLOCK=infinity for a service"});
  }
  if (gpu.devices.size() > 1 && host.shm_bytes < kGiB) {
    findings.push_back(
        {Severity::warning, "/dev/shm",
         describe_bytes(host.shm_bytes) + " is little for NCCL between " + std::to_string(gpu.devices.size()) + " GPUs",
         "start the container with --shm-size=8g"});
  }
}

void diagnose_gpu(const GpuFacts& gpu, std::vector<Finding>& findings) {
  bool cpu_build = gpu.built_for.empty();
  if (cpu_build && gpu.driver.empty()) return;  // no GPU, and none expected
  if (cpu_build) {
    findings.push_back({Severity::warning, "GPU", "NVIDIA driver " + gpu.driver + " is here, but this is a CPU build",
                        "install the CUDA toolkit (nvcc) and build again: scripts/quickstart"});
    return;
  }
  if (!gpu.unavailable_reason.empty()) {
    bool present = !gpu.driver.empty();
    findings.push_back({present ? Severity::blocker : Severity::note, "GPU", gpu.unavailable_reason,
                        present ? "a driver for CUDA " + gpu.libraries.runtime + " or newer; in a container: --gpus all"
                                : "nothing, if this machine has no GPU: training runs on the CPU"});
    return;
  }
  for (size_t index = 0; index < gpu.devices.size(); ++index) {
    const kernels::CudaDeviceInfo& device = gpu.devices[index];
    if (architectures_cover(gpu.built_for, device.major, device.minor)) continue;
    std::string capability = std::to_string(device.major) + std::to_string(device.minor);
    findings.push_back({Severity::blocker, "GPU " + std::to_string(index),
                        device.name + " is sm_" + capability + ", this binary was built for " + gpu.built_for,
                        "cmake -DNEMO_CUDA_ARCHITECTURES=" + capability});
  }
  if (gpu.libraries.cublaslt.empty()) {
    findings.push_back({Severity::blocker, "cuBLASLt", "libcublasLt.so was not found",
                        "install the CUDA runtime libraries, or put their folder on LD_LIBRARY_PATH"});
  }
  if (gpu.libraries.cudnn.empty()) {
    findings.push_back({Severity::warning, "cuDNN",
                        "libcudnn.so was not found: attention falls back to our slower kernel",
                        "install cuDNN 9, or put its folder on LD_LIBRARY_PATH"});
  }
  if (gpu.devices.size() > 1 && gpu.libraries.nccl.empty()) {
    findings.push_back({Severity::warning, "NCCL", "libnccl.so was not found: only one GPU can be used",
                        "install NCCL 2, or put its folder on LD_LIBRARY_PATH"});
  }
}

}  // namespace

std::vector<Finding> diagnose(const HostFacts& host, const GpuFacts& gpu) {
  std::vector<Finding> findings;
  diagnose_processors(host, findings);
  diagnose_space(host, findings);
  diagnose_limits(host, gpu, findings);
  diagnose_gpu(gpu, findings);
  std::stable_sort(findings.begin(), findings.end(),
                   [](const Finding& a, const Finding& b) { return a.severity > b.severity; });
  return findings;
}

bool architectures_cover(const std::string& architectures, int major, int minor) {
  const int wanted = 10 * major + minor;
  std::string list = architectures;
  std::replace(list.begin(), list.end(), ';', ',');
  std::istringstream entries(list);
  for (std::string entry; std::getline(entries, entry, ',');) {
    const int built = std::atoi(entry.c_str());
    size_t digits = std::min(entry.find_first_not_of("0123456789"), entry.size());
    std::string suffix = entry.substr(digits);
    if (suffix.starts_with("a")) {
      if (wanted == built) return true;
    } else if (suffix.starts_with("f") || suffix == "-real") {
      if (wanted / 10 == built / 10 && wanted >= built) return true;
    } else if (wanted >= built) {
      return true;
    }
  }
  return false;
}

}  // namespace nemo
