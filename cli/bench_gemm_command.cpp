#include <spdlog/fmt/fmt.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/bench_command.h"
#include "cli/bench_report.h"
#include "cli/recipe_folders.h"
#include "core/error.h"
#include "recipes/bench/bench_gemm.h"
#include "recipes/bench/bench_train.h"
#include "recipes/precision.h"
#include "recipes/run_data.h"

namespace nemo {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFooter =
    R"(With --preset: every product of a training step of one micro-batch, how often it is done, and the sum, below
which no step can come that does these products.

Examples:
  nemo bench gemm --preset llama3_2_1b --tokens 8192
  nemo bench gemm --sizes 8192,8192,8192 4096,14336,8192 --precision bf16
  nemo bench gemm --device cpu --precision fp32 --sizes 256,256,256 --json -)";

struct Arguments {
  std::vector<std::string> sizes;
  std::string preset, precision = "auto", device = "auto";
  std::optional<int64_t> tokens;
  BenchReport report;
};

// "m,n,k", all positive.
Product parse_size(const std::string& text, DType dtype) {
  int64_t sizes[3] = {};
  const char *at = text.data(), *const end = text.data() + text.size();
  bool good = true;
  for (int i = 0; i < 3 && good; ++i) {
    const auto [next, error] = std::from_chars(at, end, sizes[i]);
    good = error == std::errc() && sizes[i] > 0 && (i == 2 ? next == end : next != end && *next == ',');
    at = next + 1;
  }
  if (!good)
    throw UsageError{"nemo bench gemm", "--sizes " + text, "is not m,n,k with three positive numbers",
                     "--sizes 8192,8192,8192"};
  return {.name = text,
          .m = sizes[0],
          .n = sizes[1],
          .k = sizes[2],
          .flags = {.transpose_b = true},
          .in = dtype,
          .out = dtype};
}

std::vector<Product> products_of(const Arguments& arguments, ExecContext& ctx) {
  std::vector<Product> products;
  for (const std::string& size : arguments.sizes) products.push_back(parse_size(size, ctx.compute_dtype()));
  if (arguments.preset.empty()) return products;
  const Recipe recipe = bench_train_recipe({.recipe = arguments.preset}, recipe_folders());
  const Plan plan = plan_run(recipe, nullptr);
  DecoderConfig model = recipe.model;
  model.vocab_size = plan.vocab_size.value();
  const StoragePolicy storage =
      storage_policy(ctx.compute_dtype() == DType::fp32 ? Precision::fp32 : recipe.trainer.precision, recipe.optim);
  for (Product& product : step_products(ctx, model, plan.padded_vocab_size.value(),
                                        arguments.tokens.value_or(plan.tokens_per_step), storage.gradients))
    products.push_back(std::move(product));
  return products;
}

double step_ms(const std::vector<ProductTime>& times) {
  double sum = 0;
  for (const ProductTime& time : times) sum += time.ms.median * static_cast<double>(time.product.per_step);
  return sum;
}

double step_tflops(const std::vector<ProductTime>& times) {
  double flops = 0;
  for (const ProductTime& time : times) flops += time.product.flops() * static_cast<double>(time.product.per_step);
  return flops / step_ms(times) * 1e-9;
}

void print_table(const Arguments& arguments, const std::vector<ProductTime>& times, const GemmPeak& peak) {
  std::cout << fmt::format("{:<34} {:>7} {:>7} {:>7} {:>5} {:>5} {:>10} {:>9} {:>7}\n", "product", "m", "n", "k", "out",
                           "times", "ms", "TFLOP/s", "of peak");
  for (const ProductTime& time : times) {
    const Product& product = time.product;
    std::cout << fmt::format("{:<34} {:>7} {:>7} {:>7} {:>5} {:>5} {:>10.4f} {:>9.4g} {:>6.1f}%\n", product.name,
                             product.m, product.n, product.k, name(product.out), product.per_step, time.ms.median,
                             time.tflops(), 100 * time.tflops() / peak.tflops);
  }
  std::cout << fmt::format("peak: {:.4g} TFLOP/s at {} cubed\n", peak.tflops, peak.size);
  if (!arguments.preset.empty())
    std::cout << fmt::format("all of a step: {:.3f} ms, {:.4g} TFLOP/s, {:.1f}% of the peak\n", step_ms(times),
                             step_tflops(times), 100 * step_tflops(times) / peak.tflops);
}

Json as_json(const Arguments& arguments, const ExecContext& ctx, const std::vector<ProductTime>& times,
             const GemmPeak& peak) {
  Json rows = Json::array();
  for (const ProductTime& time : times) {
    const Product& product = time.product;
    rows.push_back({{"name", product.name},
                    {"m", product.m},
                    {"n", product.n},
                    {"k", product.k},
                    {"in", name(product.in)},
                    {"out", name(product.out)},
                    {"accumulate", product.flags.accumulate},
                    {"per_step", product.per_step},
                    {"ms", spread_json(time.ms)},
                    {"tflops", time.tflops()},
                    {"share_of_measured_gemm_peak", time.tflops() / peak.tflops}});
  }
  Json json = {{"preset", arguments.preset.empty() ? Json() : Json(arguments.preset)},
               {"precision", name(ctx.compute_dtype())},
               {"measured_gemm_tflops", peak.tflops},
               {"products", rows}};
  if (!arguments.preset.empty())
    json["step"] = {{"ms", step_ms(times)},
                    {"tflops", step_tflops(times)},
                    {"share_of_measured_gemm_peak", step_tflops(times) / peak.tflops}};
  json.update(bench_machine(ctx.device()));
  return json;
}

void run(const Arguments& arguments) {
  if (arguments.sizes.empty() == arguments.preset.empty())
    throw UsageError{"nemo bench gemm", "",
                     arguments.preset.empty() ? "nothing to multiply" : "--sizes and --preset are both given",
                     "either --sizes m,n,k or --preset NAME"};
  if (arguments.tokens && arguments.preset.empty())
    throw UsageError{"nemo bench gemm", "--tokens", "belongs to --preset", "--preset NAME --tokens N"};
  const Device device = parse_device(arguments.device);
  const bool bf16 = arguments.precision == "bf16" || (arguments.precision == "auto" && device.is_cuda());
  Runtime runtime(device);
  ExecContext ctx(runtime, bf16 ? DType::bf16 : DType::fp32);
  const std::vector<Product> products = products_of(arguments, ctx);
  const GemmPeak peak = measure_gemm_peak(runtime, ctx.compute_dtype());
  const std::vector<ProductTime> times = time_products(ctx, products);
  if (arguments.report.prints_table()) print_table(arguments, times, peak);
  arguments.report.write(as_json(arguments, ctx, times, peak));
}

}  // namespace

void add_bench_gemm_command(CLI::App& bench) {
  CLI::App* command =
      bench.add_subcommand("gemm", "Time matrix products: given sizes, or all of a model's training step");
  command->footer(kFooter);
  auto arguments = std::make_shared<Arguments>();
  command->add_option("--sizes", arguments->sizes, "products [m, k] x [k, n]")->type_name("m,n,k ...");
  command->add_option("--preset", arguments->preset, "a shipped recipe's name (nemo recipes ls) or a .yaml file");
  command->add_option("--tokens", arguments->tokens, "tokens of a micro-batch of --preset; default: the recipe's")
      ->check(CLI::PositiveNumber);
  command->add_option("--precision", arguments->precision, "bf16, fp32 or auto (bf16 on a GPU, fp32 on a CPU)")
      ->check(CLI::IsMember({"auto", "bf16", "fp32"}))
      ->capture_default_str();
  command->add_option("--device", arguments->device, "cpu, cuda, cuda:INDEX or auto (a GPU where there is one)")
      ->capture_default_str();
  add_bench_report(*command, arguments->report);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace nemo
