#include "cli/doctor_command.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iomanip>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/build_info.h"
#include "cli/command_error.h"
#include "cli/diagnosis.h"
#include "cli/host_facts.h"

namespace nemo {
namespace {

std::string or_none(const std::string& version) {
  return version.empty() ? "not found" : version;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

const char* name(Severity severity) {
  return severity == Severity::blocker ? "blocks" : severity == Severity::warning ? "warning" : "note";
}

void print_text(const HostFacts& host, const GpuFacts& gpu, const std::vector<Finding>& findings) {
  auto row = [](const std::string& subject, const std::string& text) {
    std::cout << std::left << std::setw(12) << subject << text << '\n';
  };
  std::cout << build_info().summary() << '\n';
  row("CPU", host.cpu_model + ", " + std::to_string(host.num_processors) + " processors: " + joined(host.cpu_features));
  row("memory", describe_bytes(host.memory_bytes) + ", " + describe_bytes(host.memory_available_bytes) + " free");
  row("disk", describe_bytes(host.disk_free_bytes) + " free in this folder");
  std::string open_files = host.open_files_limit == kUnlimited ? "unlimited" : std::to_string(host.open_files_limit);
  row("limits", "open files " + open_files + ", locked memory " + describe_bytes(host.locked_memory_limit_bytes) +
                    ", /dev/shm " + describe_bytes(host.shm_bytes));
  row("driver", gpu.driver.empty() ? "no NVIDIA driver" : "NVIDIA " + gpu.driver);
  for (size_t index = 0; index < gpu.devices.size(); ++index) {
    const kernels::CudaDeviceInfo& device = gpu.devices[index];
    row("GPU " + std::to_string(index),
        device.name + ", sm_" + std::to_string(device.major) + std::to_string(device.minor) + ", " +
            std::to_string(device.multiprocessors) + " multiprocessors, " + describe_bytes(device.total_bytes) + ", " +
            describe_bytes(device.free_bytes) + " free");
  }
  if (gpu.devices.empty()) row("GPU", "none in use: " + gpu.unavailable_reason);
  if (!gpu.built_for.empty()) {
    row("libraries", "CUDA runtime " + or_none(gpu.libraries.runtime) + " (driver speaks " +
                         or_none(gpu.libraries.driver) + "), cuBLASLt " + or_none(gpu.libraries.cublaslt) + ", cuDNN " +
                         or_none(gpu.libraries.cudnn) + ", NCCL " + or_none(gpu.libraries.nccl));
  }
  std::cout << '\n';
  for (const Finding& finding : findings) {
    std::cout << name(finding.severity) << ": " << finding.subject << ": " << finding.what << "; try: " << finding.fix
              << '\n';
  }
  if (findings.empty()) std::cout << "Nothing is wrong.\n";
}

nlohmann::ordered_json as_json(const HostFacts& host, const GpuFacts& gpu, const std::vector<Finding>& findings) {
  using Json = nlohmann::ordered_json;
  auto limit = [](uint64_t value) { return value == kUnlimited ? Json("unlimited") : Json(value); };
  Json devices = Json::array(), problems = Json::array();
  for (const kernels::CudaDeviceInfo& device : gpu.devices) {
    devices.push_back({{"name", device.name},
                       {"compute_capability", std::to_string(device.major) + "." + std::to_string(device.minor)},
                       {"multiprocessors", device.multiprocessors},
                       {"total_bytes", device.total_bytes},
                       {"free_bytes", device.free_bytes}});
  }
  for (const Finding& finding : findings) {
    problems.push_back({{"severity", name(finding.severity)},
                        {"subject", finding.subject},
                        {"what", finding.what},
                        {"fix", finding.fix}});
  }
  return {{"cpu", {{"model", host.cpu_model}, {"processors", host.num_processors}, {"features", host.cpu_features}}},
          {"memory", {{"total_bytes", host.memory_bytes}, {"available_bytes", host.memory_available_bytes}}},
          {"disk_free_bytes", host.disk_free_bytes},
          {"limits",
           {{"open_files", limit(host.open_files_limit)},
            {"locked_memory_bytes", limit(host.locked_memory_limit_bytes)},
            {"shm_bytes", host.shm_bytes}}},
          {"nvidia_driver", gpu.driver},
          {"gpu_unavailable_reason", gpu.unavailable_reason},
          {"gpus", devices},
          {"libraries",
           {{"cuda_driver", gpu.libraries.driver},
            {"cuda_runtime", gpu.libraries.runtime},
            {"cublaslt", gpu.libraries.cublaslt},
            {"cudnn", gpu.libraries.cudnn},
            {"nccl", gpu.libraries.nccl}}},
          {"findings", problems}};
}

void run_doctor(bool json) {
  const HostFacts host = read_host_facts();
  const GpuFacts gpu = read_gpu_facts();
  const std::vector<Finding> findings = diagnose(host, gpu);
  if (json) {
    std::cout << as_json(host, gpu, findings).dump(2) << '\n';
  } else {
    print_text(host, gpu, findings);
  }
  bool blocked =
      std::any_of(findings.begin(), findings.end(), [](const Finding& f) { return f.severity == Severity::blocker; });
  if (blocked) throw CLI::RuntimeError(kExitFailure);
}

}  // namespace

void add_doctor_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("doctor", "Check this machine for training and say what to fix");
  auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "one JSON object instead of text");
  command->footer("Exits 1 when something blocks training, else 0.\n\nExamples:\n  nemo doctor\n  nemo doctor --json");
  command->callback([json] { run_doctor(*json); });
}

}  // namespace nemo
