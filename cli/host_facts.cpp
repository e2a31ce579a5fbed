#include "cli/host_facts.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <sstream>

#include "cli/build_info.h"
#include "cli/cpu_support.h"
#include "kernels/base/error.h"

namespace nemo {
namespace {

std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The text after "key   : " on the first such line of a /proc file, empty when there is none.
std::string value_of(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    size_t colon = line.find(':');
    if (!line.starts_with(key) || colon == std::string::npos) continue;
    size_t start = line.find_first_not_of(" \t", colon + 1);
    return start == std::string::npos ? "" : line.substr(start);
  }
  return "";
}

std::string read_cpu_model() {
  std::string model = value_of("/proc/cpuinfo", "model name");
  if (!model.empty()) return model;
  utsname system{};  // Arm64 gives numbers instead of a name
  uname(&system);
  return std::string(system.machine) + " implementer " + value_of("/proc/cpuinfo", "CPU implementer") + " part " +
         value_of("/proc/cpuinfo", "CPU part");
}

int read_num_processors() {
  cpu_set_t allowed;
  return sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
}

// cgroup v2: "max 100000" or "<microseconds> <period>".
std::optional<double> read_cpu_quota() {
  std::istringstream words(first_line("/sys/fs/cgroup/cpu.max"));
  double quota = 0, period = 0;
  if (words >> quota >> period && period > 0) return quota / period;
  return std::nullopt;
}

uint64_t meminfo_bytes(const std::string& key) {
  return 1024 * std::strtoull(value_of("/proc/meminfo", key).c_str(), nullptr, 10);
}

uint64_t cgroup_memory_bytes() {
  std::string limit = first_line("/sys/fs/cgroup/memory.max");
  return limit.empty() || limit == "max" ? kUnlimited : std::strtoull(limit.c_str(), nullptr, 10);
}

uint64_t soft_limit(decltype(RLIMIT_NOFILE) resource) {
  rlimit limit{};
  getrlimit(resource, &limit);
  return limit.rlim_cur == RLIM_INFINITY ? kUnlimited : limit.rlim_cur;
}

struct FileSystemSize {
  uint64_t total_bytes = 0, free_bytes = 0;
};

FileSystemSize file_system_size(const char* path) {
  struct statvfs status {};
  if (statvfs(path, &status) != 0) return {};
  return {uint64_t{status.f_blocks} * status.f_frsize, uint64_t{status.f_bavail} * status.f_frsize};
}

}  // namespace

HostFacts read_host_facts() {
  HostFacts facts;
  facts.cpu_model = read_cpu_model();
  facts.cpu_features = cpu_features();
  facts.num_processors = read_num_processors();
  facts.cpu_quota = read_cpu_quota();
  if (const char* threads = std::getenv("OMP_NUM_THREADS")) facts.omp_num_threads = std::atoi(threads);
  uint64_t granted = cgroup_memory_bytes();
  facts.memory_bytes = std::min(meminfo_bytes("MemTotal"), granted);
  facts.memory_available_bytes = std::min(meminfo_bytes("MemAvailable"), granted);
  facts.disk_free_bytes = file_system_size(".").free_bytes;
  facts.shm_bytes = file_system_size("/dev/shm").total_bytes;
  facts.open_files_limit = soft_limit(RLIMIT_NOFILE);
  facts.locked_memory_limit_bytes = soft_limit(RLIMIT_MEMLOCK);
  std::error_code absent;
  facts.infiniband = !std::filesystem::is_empty("/sys/class/infiniband", absent) && !absent;
  return facts;
}

GpuFacts read_gpu_facts() {
  GpuFacts facts;
  facts.built_for = build_info().cuda_architectures;
  facts.driver = driver_version_in(first_line("/proc/driver/nvidia/version"));
  if (kernels::cuda_unavailable_reason == nullptr) {  // a weak symbol: a CPU build has no CUDA side to ask
    facts.unavailable_reason = "this is a CPU build";
    return facts;
  }
  facts.unavailable_reason = kernels::cuda_unavailable_reason();
  facts.libraries = kernels::cuda_versions();
  if (!facts.unavailable_reason.empty()) return facts;
  try {
    for (int index = 0; index < kernels::cuda_device_count(); ++index)
      facts.devices.push_back(kernels::cuda_device_info(index));
  } catch (const kernels::CudaError& error) {  // a GPU that has fallen off the bus still deserves a report
    facts.unavailable_reason = error.what();
  }
  return facts;
}

std::string describe_bytes(uint64_t bytes) {
  if (bytes == kUnlimited) return "unlimited";
  const bool large = bytes >= uint64_t{1} << 30;
  std::ostringstream text;
  text << std::fixed << std::setprecision(1) << static_cast<double>(bytes) / (uint64_t{1} << (large ? 30 : 20))
       << (large ? " GiB" : " MiB");
  return text.str();
}

std::string driver_version_in(const std::string& nvrm_line) {
  std::istringstream words(nvrm_line);
  for (std::string word; words >> word;) {
    bool version = word.find('.') != std::string::npos && word.find_first_not_of("0123456789.") == std::string::npos;
    if (version) return word;
  }
  return "";
}

}  // namespace nemo
