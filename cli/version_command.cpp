#include "cli/version_command.h"

#include <oneapi/dnnl/dnnl.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/build_info.h"
#include "kernels/base/cpu_features.h"

namespace nemo {
namespace {

std::string onednn_version() {
  const dnnl_version_t* version = dnnl_version();
  return std::to_string(version->major) + "." + std::to_string(version->minor) + "." + std::to_string(version->patch);
}

nlohmann::ordered_json as_json(const BuildInfo& info) {
  nlohmann::ordered_json json = {{"version", info.version},       {"git_commit", info.git_commit},
                                 {"build_type", info.build_type}, {"compiler", info.compiler},
                                 {"cpu_arch", info.cpu_arch},     {"cpu_features", kernels::cpu_features_compiled_in()},
                                 {"onednn", onednn_version()},    {"cuda", info.has_cuda()}};
  if (info.has_cuda()) {
    json["cuda_toolkit"] = info.cuda_toolkit;
    json["cuda_architectures"] = info.cuda_architectures;
  }
  return json;
}

void print_version(bool json) {
  const BuildInfo& info = build_info();
  if (json) {
    std::cout << as_json(info).dump(2) << '\n';
    return;
  }
  std::cout << info.summary() << '\n'
            << "  build     " << info.build_type << ", " << info.compiler << ", CPU kernels for " << info.cpu_arch
            << '\n'
            << "  oneDNN    " << onednn_version() << '\n';
  if (info.has_cuda()) {
    std::cout << "  CUDA      toolkit " << info.cuda_toolkit << ", architectures " << info.cuda_architectures << '\n';
  } else {
    std::cout << "  CUDA      none: a CPU build\n";
  }
}

}  // namespace

void add_version_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("version", "Print what this binary was built from and with");
  auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "one JSON object instead of text");
  command->footer("Examples:\n  nemo version\n  nemo version --json");
  command->callback([json] { print_version(*json); });
}

}  // namespace nemo
