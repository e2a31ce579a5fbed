#include <spdlog/fmt/fmt.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/bench_command.h"
#include "cli/bench_report.h"
#include "cli/recipe_folders.h"
#include "core/error.h"
#include "recipes/bench/bench_train.h"
#include "recipes/bench/kernel_case.h"
#include "recipes/run_data.h"

namespace nemo {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFooter =
    R"(Each kernel's result is compared with the CPU's loop on a small shape before it is timed. Bytes are those that must be
read and written; the share is of a measured copy, for attention of the measured matrix product.

Examples:
  nemo bench kernels
  nemo bench kernels --filter norm --preset gpt2_124m --tokens 65536
  nemo bench kernels --device cpu --preset gpt2_124m --tokens 512 --json kernels.json)";

struct Arguments {
  std::string filter, preset = "llama3_2_1b", precision = "auto", device = "auto";
  int64_t tokens = 8192;
  BenchReport report;
};

// What the times are held against; each is measured when a kernel first asks for it.
class Peaks {
 public:
  explicit Peaks(ExecContext& ctx) : ctx_(ctx) {}
  double copy_gb_per_s() {
    if (copy_ == 0) copy_ = measure_copy_rate(ctx_.runtime()) * 1e-9;
    return copy_;
  }
  double gemm_tflops() {
    if (gemm_ == 0) gemm_ = measure_gemm_peak(ctx_.runtime(), ctx_.compute_dtype()).tflops;
    return gemm_;
  }
  double share(const KernelTime& time) {
    return time.flops > 0 ? time.tflops() / gemm_tflops() : time.gb_per_s() / copy_gb_per_s();
  }

 private:
  ExecContext& ctx_;
  double copy_ = 0, gemm_ = 0;
};

KernelSizes sizes_of(const Arguments& arguments) {
  const Recipe recipe = bench_train_recipe({.recipe = arguments.preset}, recipe_folders());
  const Plan plan = plan_run(recipe, nullptr);
  DecoderConfig model = recipe.model;
  model.vocab_size = plan.vocab_size.value();
  return kernel_sizes(model, plan.padded_vocab_size.value(), arguments.tokens);
}

std::vector<KernelCase> cases_of(const Arguments& arguments, ExecContext& ctx) {
  std::vector<KernelCase> cases;
  for (KernelCase& kernel : list_kernel_cases(ctx.compute_dtype()))
    if (kernel.name.find(arguments.filter) != std::string::npos && (!kernel.cuda_only || ctx.device().is_cuda()))
      cases.push_back(std::move(kernel));
  if (cases.empty())
    throw UsageError{"nemo bench kernels", "--filter " + arguments.filter, "no kernel has this in its name",
                     "leave it out to see all names"};
  return cases;
}

void run(const Arguments& arguments) {
  const Device device = parse_device(arguments.device);
  const bool bf16 = arguments.precision == "bf16" || (arguments.precision == "auto" && device.is_cuda());
  Runtime runtime(device);
  ExecContext ctx(runtime, bf16 ? DType::bf16 : DType::fp32);
  const KernelSizes sizes = sizes_of(arguments);
  const std::vector<KernelCase> cases = cases_of(arguments, ctx);
  Peaks peaks(ctx);
  Json rows = Json::array();
  const bool table = arguments.report.prints_table();
  if (table)
    std::cout << fmt::format("{:<42} {:>10} {:>10} {:>9} {:>9} {:>8} {:>9}\n", "kernel", "ms", "MB", "GB/s", "TFLOP/s",
                             "of peak", "off CPU");
  for (const KernelCase& kernel : cases) {
    const std::optional<KernelTime> time = time_kernel(ctx, kernel, sizes);
    if (!time) {
      std::cerr << "note: " << kernel.name << ": the library does not serve these sizes\n";
      continue;
    }
    const double share = peaks.share(*time);
    if (table)
      std::cout << fmt::format("{:<42} {:>10.4f} {:>10.2f} {:>9.1f} {:>9} {:>7.1f}% {:>9.1e}", time->name,
                               time->ms.median, static_cast<double>(time->moved_bytes) * 1e-6, time->gb_per_s(),
                               time->flops > 0 ? fmt::format("{:.4g}", time->tflops()) : "-", 100 * share,
                               time->check_error)
                << std::endl;
    rows.push_back({{"name", time->name},
                    {"ms", spread_json(time->ms)},
                    {"moved_bytes", time->moved_bytes},
                    {"gb_per_s", time->gb_per_s()},
                    {"flops", time->flops},
                    {"tflops", time->tflops()},
                    {"peak", time->flops > 0 ? "gemm" : "copy"},
                    {"share_of_measured_peak", share},
                    {"check_error", time->check_error}});
  }
  if (table) std::cout << fmt::format("copy: {:.1f} GB/s\n", peaks.copy_gb_per_s());
  Json json = {{"preset", arguments.preset},
               {"tokens", sizes.tokens},
               {"precision", name(ctx.compute_dtype())},
               {"measured_copy_gb_per_s", peaks.copy_gb_per_s()},
               {"measured_gemm_tflops", peaks.gemm_tflops()},
               {"kernels", rows}};
  json.update(bench_machine(device));
  arguments.report.write(json);
}

}  // namespace

void add_bench_kernels_command(CLI::App& bench) {
  CLI::App* command = bench.add_subcommand("kernels", "Check and time each kernel at the shapes of a model");
  command->footer(kFooter);
  auto arguments = std::make_shared<Arguments>();
  command->add_option("--filter", arguments->filter, "only kernels with this in their name");
  command
      ->add_option("--preset", arguments->preset,
                   "whose shapes: a shipped recipe's name (nemo recipes ls) or a .yaml file")
      ->capture_default_str();
  command->add_option("--tokens", arguments->tokens, "of a micro-batch")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--precision", arguments->precision, "bf16, fp32 or auto (bf16 on a GPU, fp32 on a CPU)")
      ->check(CLI::IsMember({"auto", "bf16", "fp32"}))
      ->capture_default_str();
  command->add_option("--device", arguments->device, "cpu, cuda, cuda:INDEX or auto (a GPU where there is one)")
      ->capture_default_str();
  add_bench_report(*command, arguments->report);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace nemo
