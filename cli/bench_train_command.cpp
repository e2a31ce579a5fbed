#include <spdlog/fmt/fmt.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/bench_command.h"
#include "cli/bench_report.h"
#include "cli/process_age.h"
#include "cli/recipe_arguments.h"
#include "cli/recipe_folders.h"
#include "core/config/print.h"
#include "recipes/bench/bench_train.h"
#include "recipes/precision.h"

namespace nemo {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFooter =
    R"(The step is a run's: forward, backward, clipping, optimizer, on made-up tokens. Nothing is saved.
first_step_s counts from the start of the process to the end of its first step.

Examples:
  nemo bench train llama3_2_1b --micro-batch-size 1 --seq-length 8192
  nemo bench train gpt2_124m --micro-batch-size 64 --precision bf16-mixed --json row.json
  nemo bench train llama3_8b model.num_layers=8 --steps 10 --profile
  nemo bench train gpt2_124m --device cpu --micro-batch-size 1 --seq-length 64 --precision fp32 --steps 3)";

struct Arguments {
  BenchTrainSettings settings;
  BenchTrainOptions options;
  std::string device = "auto";
  BenchReport report;
};

// The text of a recipe's key; null where this version has no such key.
Json recipe_value(const Recipe& recipe, const std::string& key) {
  Recipe copy = recipe;  // fields() hands out places to write to
  const std::vector<Field> fields = list_fields(copy);
  for (const LeafField& leaf : list_leaves(fields))
    if (leaf.path == key) return value_text(*leaf.field);
  return nullptr;
}

Json profile_json(const StepProfile& profile) {
  Json rows = Json::array();
  for (const StepProfile::Row& row : profile.rows)
    rows.push_back({{"name", row.name},
                    {"calls_per_step", row.calls_per_step},
                    {"ms_per_step", row.ms_per_step},
                    {"share", row.share}});
  return {{"steps", profile.num_steps},
          {"ms_per_step", profile.ms_per_step},
          {"idle_ms_per_step", profile.idle_ms_per_step},
          {"kernels", rows}};
}

Json as_json(const Arguments& arguments, const Recipe& recipe, const TrainBench& bench) {
  const StoragePolicy storage = storage_policy(recipe.trainer.precision, recipe.optim);
  Json json = {{"recipe", arguments.settings.recipe},
               {"preset", recipe.model.preset.empty() ? Json() : Json(recipe.model.preset)},
               {"overrides", arguments.settings.overrides},
               {"precision", recipe_value(recipe, "trainer.precision")},
               {"master_dtype", storage.master ? Json("fp32") : Json()},
               {"moment_dtype", name(recipe.optim.moment_dtype)},
               {"gradient_dtype", name(storage.gradients)},
               {"micro_batch_size", recipe.data.micro_batch_size},
               {"seq_length", recipe.model.seq_length},
               {"global_batch_size", recipe.data.global_batch_size},
               {"num_parameters", *bench.plan.num_parameters},
               {"tokens_per_step", bench.plan.tokens_per_step},
               {"warmup_steps", arguments.options.num_warmup_steps},
               {"steps", arguments.options.num_steps},
               {"tokens_per_s", bench.tokens_per_s},
               {"ms_per_step", spread_json(bench.step_ms)},
               {"tflops_causal", bench.tflops_causal},
               {"tflops_megatron", bench.tflops_megatron},
               {"mfu_datasheet", bench.mfu_datasheet ? Json(*bench.mfu_datasheet) : Json()},
               {"share_of_measured_gemm_peak", bench.share_of_gemm_peak()},
               {"measured_gemm_tflops", bench.gemm_peak.tflops},
               {"peak_memory_bytes", bench.peak_memory_bytes},
               {"estimated_memory_bytes", bench.estimated_memory_bytes},
               {"first_step_s", bench.first_step_s},
               {"loss_first", bench.loss_first},
               {"loss_last", bench.loss_last},
               {"deterministic", recipe.trainer.deterministic}};
  if (const Json graphs = recipe_value(recipe, "trainer.cuda_graph"); !graphs.is_null()) json["cuda_graph"] = graphs;
  json.update(bench_machine(arguments.options.device));
  if (bench.profile) json["profile"] = profile_json(*bench.profile);
  return json;
}

void print_profile(const StepProfile& profile) {
  std::cout << fmt::format(
      "\nprofile of {} steps: {:.3f} ms a step, {:.3f} ms of it nothing runs\n{:>12} {:>9} {:>7}  {}\n",
      profile.num_steps, profile.ms_per_step, profile.idle_ms_per_step, "ms a step", "calls", "share", "kernel");
  for (const StepProfile::Row& row : profile.rows)
    std::cout << fmt::format("{:>12.4f} {:>9.1f} {:>6.1f}%  {}\n", row.ms_per_step, row.calls_per_step, 100 * row.share,
                             row.name.substr(0, 140));
}

void print_table(const Arguments& arguments, const Recipe& recipe, const TrainBench& bench) {
  const auto row = [](const char* subject, const std::string& text) {
    std::cout << fmt::format("{:<16}{}\n", subject, text);
  };
  const auto gib = [](size_t bytes) { return static_cast<double>(bytes) / (1 << 30); };
  row("device", device_name(arguments.options.device));
  row("batch", fmt::format("{} x {} tokens, {} a step", recipe.data.micro_batch_size, recipe.model.seq_length,
                           bench.plan.tokens_per_step));
  row("speed", fmt::format("{:.0f} tokens/s", bench.tokens_per_s));
  row("step", fmt::format("{:.2f} ms (median of {}; {:.2f} to {:.2f})", bench.step_ms.median,
                          arguments.options.num_steps, bench.step_ms.min, bench.step_ms.max));
  row("arithmetic",
      fmt::format("{:.4g} TFLOP/s causal, {:.4g} with full attention", bench.tflops_causal, bench.tflops_megatron));
  row("share",
      fmt::format("{:.1f}% of the measured GEMM peak ({:.4g} TFLOP/s at {} cubed)", 100 * bench.share_of_gemm_peak(),
                  bench.gemm_peak.tflops, bench.gemm_peak.size) +
          (bench.mfu_datasheet ? fmt::format(", {:.1f}% of the datasheet's", 100 * *bench.mfu_datasheet) : ""));
  row("memory", fmt::format("{:.3f} GiB at the peak, {:.3f} GiB estimated", gib(bench.peak_memory_bytes),
                            gib(bench.estimated_memory_bytes)));
  row("first step", fmt::format("{:.2f} s after the start of the process", bench.first_step_s));
  row("loss", fmt::format("{:.4f}, at last {:.4f}", bench.loss_first, bench.loss_last));
  if (bench.profile) print_profile(*bench.profile);
}

void run(Arguments& arguments) {
  arguments.options.process_age_s = process_age_s();
  const Recipe recipe = bench_train_recipe(arguments.settings, recipe_folders());
  arguments.options.device = parse_device(arguments.device);
  const TrainBench bench = bench_train(recipe, arguments.options);
  if (arguments.report.prints_table()) print_table(arguments, recipe, bench);
  arguments.report.write(as_json(arguments, recipe, bench));
}

}  // namespace

void add_bench_train_command(CLI::App& bench) {
  CLI::App* command = bench.add_subcommand("train", "Time a recipe's training step on made-up tokens");
  command->footer(kFooter);
  auto arguments = std::make_shared<Arguments>();
  BenchTrainSettings& settings = arguments->settings;
  BenchTrainOptions& options = arguments->options;
  command->add_option("recipe", settings.recipe, "a shipped recipe's name (nemo recipes ls) or a .yaml file")
      ->required();
  command->add_option("overrides", settings.overrides, "settings put above the recipe's: key.path=value");
  command
      ->add_option("--micro-batch-size", settings.micro_batch_size,
                   "samples of one forward pass; default: the recipe's")
      ->check(CLI::PositiveNumber);
  command->add_option("--seq-length", settings.seq_length, "tokens of a sample; default: the recipe's")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--global-batch-size", settings.global_batch_size,
                   "samples of one optimizer step; default: one micro-batch")
      ->check(CLI::PositiveNumber);
  command->add_option("--precision", settings.precision, "bf16-mixed, bf16, fp32 or fp8-mixed; default: the recipe's");
  command->add_option("--steps", options.num_steps, "steps that are timed")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--warmup", options.num_warmup_steps, "steps before them")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--device", arguments->device, "cpu, cuda, cuda:INDEX or auto (a GPU where there is one)")
      ->capture_default_str();
  command->add_flag("--profile", options.profile,
                    "then trace up to 10 more steps on the GPU and list the time of each kernel");
  add_bench_report(*command, arguments->report);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace nemo
