#include "cli/convert_command.h"

#include <spdlog/fmt/fmt.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/recipe_folders.h"
#include "recipes/convert.h"
#include "recipes/verify.h"

namespace nemo {
namespace {

constexpr const char* kFooter = R"(Examples:
  nemo convert import Qwen2.5-0.5B qwen.ckpt        a Hugging Face folder becomes a checkpoint
  nemo convert export runs/x/checkpoints/step_000001000 out-hf --dtype bf16
  nemo convert verify Qwen2.5-0.5B --reference io.safetensors --json)";

constexpr const char* kVerifyFooter = R"(The reference holds in.<argument>, out.<output>, grad.<HF parameter> and traj.loss, traj.grad_norm of 8 AdamW steps.
Exit code 1 when an error is over its tolerance (fp32: 1e-5 outputs, 1e-4 gradients and trajectories; bf16: 2e-2 and
5e-2), or when a reference tensor was not compared.

Examples:
  nemo convert verify Llama-3.2-1B --reference io.safetensors
  nemo convert verify gpt2 --reference io.safetensors --device cuda --precision bf16 --dump ours.safetensors)";

const std::map<std::string, DType> kDTypes = {{"fp32", DType::fp32}, {"bf16", DType::bf16}, {"fp16", DType::fp16}};

void print_report(const VerifyReport& report, bool as_json) {
  if (as_json) {
    nlohmann::ordered_json object{{"passed", report.passed}, {"compared", report.errors.size()}, {"worst", {{"name", report.worst_name}, {"error", report.worst_error}}}, {"errors", report.errors}};
    if (!report.not_compared.empty()) object["not_compared"] = report.not_compared;
    std::cout << object.dump() << '\n';
    return;
  }
  for (const auto& [name, error] : report.errors) {
    const double limit = report.limits.at(name);
    std::cout << fmt::format("{:<72} {:.3e}{}\n", name, error, error > limit ? fmt::format("  OVER {:.0e}", limit) : "");
  }
  for (const std::string& name : report.not_compared) std::cout << fmt::format("{:<72} NOT COMPARED\n", name);
  std::cout << fmt::format("{}: {} compared, worst {} {:.3e}\n", report.passed ? "passed" : "FAILED", report.errors.size(), report.worst_name, report.worst_error);
}

void add_import(CLI::App& convert) {
  struct Arguments { std::string from, to; };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = convert.add_subcommand("import", "Read a Hugging Face folder and write a checkpoint");
  command->footer("Examples:\n  nemo convert import Qwen2.5-0.5B qwen.ckpt");
  command->add_option("hf-dir", arguments->from, "Folder with config.json and safetensors")->required();
  command->add_option("checkpoint", arguments->to, "Checkpoint folder to write")->required();
  command->callback([arguments] {
    const ConversionReport report = import_folder(arguments->from, arguments->to);
    std::cout << fmt::format("{}: {} parameters in {} tensors, {}\n", arguments->to, report.num_parameters, report.num_tensors, name(report.dtype));
  });
}

void add_export(CLI::App& convert) {
  struct Arguments {
    std::string from, to, dtype;
    double max_shard_gb = 5;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = convert.add_subcommand("export", "Read a checkpoint and write a Hugging Face folder");
  command->footer("Examples:\n  nemo convert export runs/x/checkpoints/step_000001000 out-hf\n  nemo convert export model.ckpt out-hf --dtype bf16 --max-shard-gb 2");
  command->add_option("checkpoint", arguments->from, "Checkpoint folder")->required();
  command->add_option("hf-dir", arguments->to, "Folder to write")->required();
  command->add_option("--dtype", arguments->dtype, "Write the weights as this; default: as they are stored")->check(CLI::IsMember({"fp32", "bf16", "fp16"}));
  command->add_option("--max-shard-gb", arguments->max_shard_gb, "Largest safetensors file, in 10^9 bytes")->check(CLI::PositiveNumber)->capture_default_str();
  command->callback([arguments] {
    ExportOptions options{.max_shard_bytes = static_cast<uint64_t>(arguments->max_shard_gb * 1e9)};
    if (!arguments->dtype.empty()) options.dtype = kDTypes.at(arguments->dtype);
    const ConversionReport report = export_checkpoint(arguments->from, arguments->to, options, recipe_folders());
    std::cout << fmt::format("{}: {} parameters in {} tensors, {}\n", arguments->to, report.num_parameters, report.num_tensors, name(report.dtype));
  });
}

void add_verify(CLI::App& convert) {
  struct Arguments {
    std::string folder, reference, device = "auto", precision = "fp32", dump;
    bool json = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = convert.add_subcommand("verify", "Run a Hugging Face model on recorded inputs and compare all that was recorded");
  command->footer(kVerifyFooter);
  command->add_option("hf-dir", arguments->folder, "Folder with config.json and safetensors")->required();
  command->add_option("--reference", arguments->reference, "Recorded inputs and results, one safetensors file")->required();
  command->add_option("--device", arguments->device, "cpu, cuda, cuda:INDEX or auto")->capture_default_str();
  command->add_option("--precision", arguments->precision, "fp32 or bf16")->check(CLI::IsMember({"fp32", "bf16"}))->capture_default_str();
  command->add_option("--dump", arguments->dump, "Write our tensors under the reference's names, fp32");
  command->add_flag("--json", arguments->json, "Print one JSON object");
  command->callback([arguments] {
    const VerifyReport report = verify({.folder = arguments->folder, .reference = arguments->reference, .device = parse_device(arguments->device),
                                        .precision = arguments->precision == "fp32" ? Precision::fp32 : Precision::bf16_mixed, .dump = arguments->dump});
    print_report(report, arguments->json);
    if (!report.passed) throw CLI::RuntimeError(1);
  });
}

}  // namespace

void add_convert_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("convert", "Hugging Face folders to checkpoints and back, and the proof that they match");
  command->footer(kFooter);
  command->require_subcommand(1);
  add_import(*command);
  add_export(*command);
  add_verify(*command);
}

}  // namespace nemo
