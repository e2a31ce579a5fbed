#include "cli/host_facts.h"

#include <catch2/catch.hpp>

using namespace nemo;

TEST_CASE("the facts of this machine make sense", "[cli]") {
  HostFacts host = read_host_facts();
  CHECK_FALSE(host.cpu_model.empty());
  CHECK(host.num_processors >= 1);
  CHECK(host.memory_bytes >= host.memory_available_bytes);
  CHECK(host.memory_bytes > 0);
  CHECK(host.open_files_limit > 0);
}

TEST_CASE("a GPU is either listed or its absence explained", "[cli]") {
  GpuFacts gpu = read_gpu_facts();
  CHECK(gpu.devices.empty() == !gpu.unavailable_reason.empty());
}

TEST_CASE("bytes as people read them", "[cli]") {
  CHECK(describe_bytes(64 << 20) == "64.0 MiB");
  CHECK(describe_bytes((uint64_t{1} << 30) * 3 / 2) == "1.5 GiB");
  CHECK(describe_bytes(kUnlimited) == "unlimited");
}

TEST_CASE("driver versions of the proprietary and the open kernel module", "[cli]") {
  CHECK(driver_version_in("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 01:44:30 UTC 2024") ==
        "550.54.14");
  CHECK(driver_version_in("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (x@y)") ==
        "580.65.06");
  CHECK(driver_version_in("").empty());
}
