#include "cli/bench_report.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <spdlog/fmt/fmt.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/build_info.h"
#include "cli/host_facts.h"
#include "core/error.h"

namespace nemo {

void BenchReport::write(const nlohmann::ordered_json& object) const {
  if (json.empty()) return;
  if (json == "-") {
    std::cout << object.dump(2) << '\n';
    return;
  }
  std::ofstream out(json);
  out << object.dump(2) << '\n';
  if (!out.flush())
    throw UsageError{"nemo bench", "--json " + json, "cannot be written",
                     "a file in a folder that exists, or - for standard output"};
}

void add_bench_report(CLI::App& command, BenchReport& report) {
  command
      .add_option("--json", report.json,
                  "write one JSON object to this file; -: to standard output, in place of the table")
      ->type_name("FILE|-");
}

std::string device_name(Device device) {
  return device.is_cuda() ? kernels::cuda_device_info(device.index).name : read_host_facts().cpu_model;
}

nlohmann::ordered_json bench_machine(Device device) {
  const BuildInfo& build = build_info();
  const dnnl_version_t* const onednn = dnnl_version();
  nlohmann::ordered_json versions = {{"nemo", build.version},
                                     {"compiler", build.compiler},
                                     {"onednn", fmt::format("{}.{}.{}", onednn->major, onednn->minor, onednn->patch)}};
  nlohmann::ordered_json driver;
  if (device.is_cuda()) {
    const GpuFacts gpu = read_gpu_facts();
    driver = gpu.driver;
    versions["cuda_toolkit"] = build.cuda_toolkit;
    versions["cuda_runtime"] = gpu.libraries.runtime;
    versions["cublaslt"] = gpu.libraries.cublaslt;
    versions["cudnn"] = gpu.libraries.cudnn;
  }
  return {{"device", to_string(device)},
          {"device_name", device_name(device)},
          {"driver", driver},
          {"threads", omp_get_max_threads()},
          {"versions", versions},
          {"commit", build.git_commit}};
}

nlohmann::ordered_json spread_json(const Spread& spread) {
  return {{"median", spread.median}, {"min", spread.min}, {"max", spread.max}};
}

}  // namespace nemo
