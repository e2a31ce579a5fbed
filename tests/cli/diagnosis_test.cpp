#include "cli/diagnosis.h"

#include <catch2/catch.hpp>

using namespace nemo;

namespace {

HostFacts healthy_host() {
  HostFacts host;
  host.num_processors = 8;
  host.memory_bytes = host.memory_available_bytes = uint64_t{64} << 30;
  host.disk_free_bytes = uint64_t{500} << 30;
  host.shm_bytes = uint64_t{32} << 30;
  host.open_files_limit = 65536;
  host.locked_memory_limit_bytes = kUnlimited;
  return host;
}

GpuFacts healthy_gpu() {
  GpuFacts gpu;
  gpu.built_for = "90a";
  gpu.driver = "580.65.06";
  gpu.devices = {{.name = "NVIDIA H100 80GB HBM3", .major = 9, .minor = 0}};
  gpu.libraries = {.driver = "13.0", .runtime = "13.0", .cublaslt = "13.1.0", .cudnn = "9.19.0", .nccl = "2.28.9"};
  return gpu;
}

GpuFacts no_gpu() {
  GpuFacts gpu;
  gpu.unavailable_reason = "this is a CPU build";
  return gpu;
}

std::vector<std::string> lines(const std::vector<Finding>& findings) {
  static constexpr const char* kNames[] = {"note", "warning", "blocks"};
  std::vector<std::string> text;
  for (const Finding& f : findings)
    text.push_back(std::string(kNames[static_cast<int>(f.severity)]) + ": " + f.subject + ": " + f.what);
  return text;
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("a healthy machine has no findings", "[cli]") {
  CHECK(lines(diagnose(healthy_host(), no_gpu())) == Lines{});
  CHECK(lines(diagnose(healthy_host(), healthy_gpu())) == Lines{});
}

TEST_CASE("disk and memory", "[cli]") {
  HostFacts host = healthy_host();
  host.disk_free_bytes = uint64_t{100} << 20;
  host.memory_available_bytes = uint64_t{512} << 20;
  CHECK(lines(diagnose(host, no_gpu())) == Lines{"blocks: disk: no room for a checkpoint: 100.0 MiB free here",
                                                 "warning: memory: only 512.0 MiB are free"});
  host = healthy_host();
  host.disk_free_bytes = uint64_t{2} << 30;
  CHECK(lines(diagnose(host, no_gpu())) ==
        Lines{"warning: disk: 2.0 GiB free here; a 1B-parameter checkpoint takes about 14 GiB"});
}

TEST_CASE("threads against the control group's quota", "[cli]") {
  HostFacts host = healthy_host();
  host.cpu_quota = 1.5;
  auto findings = diagnose(host, no_gpu());
  CHECK(lines(findings) == Lines{"warning: processors: 8 threads would share 2 processors' worth of time"});
  CHECK(findings.at(0).fix == "export OMP_NUM_THREADS=2");
  host.omp_num_threads = 2;
  CHECK(lines(diagnose(host, no_gpu())) == Lines{});
  host.cpu_quota.reset();
  CHECK(lines(diagnose(host, no_gpu())) == Lines{"note: processors: OMP_NUM_THREADS=2 leaves 6 idle"});
}

TEST_CASE("limits that hurt only with the hardware they concern", "[cli]") {
  HostFacts host = healthy_host();
  host.locked_memory_limit_bytes = 8 << 20;
  host.shm_bytes = 64 << 20;
  CHECK(lines(diagnose(host, healthy_gpu())) == Lines{});
  host.infiniband = true;
  host.open_files_limit = 256;
  GpuFacts gpu = healthy_gpu();
  gpu.devices.push_back(gpu.devices[0]);
  CHECK(lines(diagnose(host, gpu)) == Lines{"warning: open files: the limit is 256",
                                            "warning: locked memory: InfiniBand cannot register buffers under a limit",
                                            "warning: /dev/shm: 64.0 MiB is little for NCCL between 2 GPUs"});
}

TEST_CASE("a GPU that cannot be used blocks only where there is one", "[cli]") {
  GpuFacts gpu = healthy_gpu();
  gpu.devices.clear();
  gpu.unavailable_reason = "the driver is too old for CUDA 13.0";
  CHECK(lines(diagnose(healthy_host(), gpu)) == Lines{"blocks: GPU: the driver is too old for CUDA 13.0"});
  gpu.driver.clear();
  CHECK(lines(diagnose(healthy_host(), gpu)) == Lines{"note: GPU: the driver is too old for CUDA 13.0"});
  gpu = no_gpu();
  gpu.driver = "550.54.14";
  CHECK(lines(diagnose(healthy_host(), gpu)) ==
        Lines{"warning: GPU: NVIDIA driver 550.54.14 is here, but this is a CPU build"});
}

TEST_CASE("a GPU this binary has no code for, and missing libraries", "[cli]") {
  GpuFacts gpu = healthy_gpu();
  gpu.devices[0] = {.name = "NVIDIA A100", .major = 8, .minor = 0};
  gpu.libraries.cublaslt.clear();
  gpu.libraries.cudnn.clear();
  gpu.libraries.nccl.clear();
  auto findings = diagnose(healthy_host(), gpu);
  CHECK(lines(findings) ==
        Lines{"blocks: GPU 0: NVIDIA A100 is sm_80, this binary was built for 90a",
              "blocks: cuBLASLt: libcublasLt.so was not found",
              "warning: cuDNN: libcudnn.so was not found: attention falls back to our slower kernel"});
  CHECK(findings.at(0).fix == "cmake -DNEMO_CUDA_ARCHITECTURES=80");
}

TEST_CASE("which GPUs a list of architectures covers", "[cli]") {
  CHECK(architectures_cover("90a", 9, 0));
  CHECK_FALSE(architectures_cover("90a", 10, 0));
  CHECK_FALSE(architectures_cover("90a", 8, 0));
  CHECK(architectures_cover("80,90a", 8, 6));
  CHECK(architectures_cover("80,90a", 10, 0));  // PTX of 80
  CHECK(architectures_cover("80-real;90a", 8, 9));
  CHECK_FALSE(architectures_cover("80-real;90a", 10, 0));
  CHECK(architectures_cover("80-virtual", 12, 0));
  CHECK_FALSE(architectures_cover("86", 8, 0));
  CHECK_FALSE(architectures_cover("", 9, 0));
}
