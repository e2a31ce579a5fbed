#include "cli/pretrain_command.h"

#include <spdlog/fmt/fmt.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <iostream>
#include <memory>
#include <optional>

#include "cli/cache_folder.h"
#include "cli/progress.h"
#include "cli/recipe_arguments.h"
#include "cli/start_ranks.h"
#include "cli/stop_signals.h"
#include "core/error.h"
#include "recipes/availability.h"
#include "recipes/dry_run.h"
#include "recipes/pretrain.h"
#include "recipes/run_data.h"

namespace nemo {
namespace {

constexpr const char* kFooter = R"(Examples:
  nemo pretrain char_gpt_cpu data.text=book.txt       a character model of any text, on the CPU
  nemo pretrain gpt2_124m data.blend=[corpus]         GPT-2 on an indexed set (nemo data tokenize)
  nemo pretrain my.yaml trainer.max_steps=100 optim.lr=1e-4
  nemo pretrain llama3_2_1b data.mock=true --dry-run  check the recipe and its memory, train nothing
  nemo pretrain my.yaml --resume auto                 go on from the run's newest checkpoint
  nemo pretrain my.yaml --nproc-per-node 2            two ranks of this machine)";

struct PretrainArguments {
  RecipeArguments recipe;
  std::string device = "auto", resume = "recipe", plan_cache = "auto";
  bool dry_run = false;
  int num_ranks = 0;  // 0: not said
};

double gibibytes(size_t bytes) { return static_cast<double>(bytes) / (1 << 30); }

void print_memory(const ArenaStats& stats) {
  std::cout << fmt::format("memory at the peak: {:.2f} GiB\n", gibibytes(stats.peak_bytes));
  for (size_t tag = 0; tag < kNumMemoryTags; ++tag)
    if (stats.at_peak_by_tag[tag] > 0) std::cout << fmt::format("  {:<12} {:>9.3f} GiB\n", name(static_cast<MemoryTag>(tag)), gibibytes(stats.at_peak_by_tag[tag]));
}

// Reads all that a run would read, and walks one step without data.
void dry_run(const Recipe& recipe, Device device, int64_t num_ranks) {
  const std::unique_ptr<Tokenizer> tokenizer = open_tokenizer(recipe);
  const Plan plan = plan_run(recipe, tokenizer.get(), num_ranks > 0 ? num_ranks : natural_world_size(recipe));
  open_data(recipe, plan, tokenizer.get());
  std::cout << fmt::format("parameters: {}\ntokens per step: {} ({} micro-batches of {} x {})\ntokens in all: {}\nFLOPs per token: {:.3g} (causal), {:.3g} (full attention)\n", *plan.num_parameters,
                           plan.tokens_per_step, plan.gradient_accumulation_steps, recipe.data.micro_batch_size, recipe.model.seq_length, plan.total_tokens, plan.flops_per_token->causal, plan.flops_per_token->full);
  print_memory(estimate_memory(recipe, plan, device.type));
  std::cout << "the recipe can run on " << to_string(device) << "; nothing was trained\n";
}

RunEvents console_events(const Recipe& recipe, const StopSignals& signals) {
  RunEvents events;
  events.on_phase = [](const std::string& phase, double seconds) { std::cout << fmt::format("{:<10} {:.2f} s", phase, seconds) << std::endl; };
  events.on_notice = [](const std::string& text) { std::cout << text << std::endl; };
  events.on_step = [every = recipe.trainer.log_every_n_steps](const StepMetrics& metrics) {
    if (metrics.step % every == 0 || metrics.step == metrics.max_steps || metrics.skipped) std::cout << progress_line(metrics) << std::endl;
  };
  events.on_validation = [](const ValidationMetrics& metrics) { std::cout << validation_line(metrics) << std::endl; };
  events.on_saved = [](const std::string& path, int64_t) { std::cout << "saving " << path << std::endl; };
  events.stop_requested = [&signals] { return signals.received() != 0; };
  return events;
}

PretrainOptions pretrain_options(const PretrainArguments& arguments, const std::optional<RankEnvironment>& environment, Recipe& recipe) {
  PretrainOptions options{.device = device_of_rank(arguments.device, environment), .plan_folder = plan_folder(arguments.plan_cache)};
  if (arguments.resume == "auto") {
    recipe.checkpoint.resume_if_exists = true;
  } else if (arguments.resume == "never") {
    options.resume = PretrainOptions::Resume::never;
  } else if (arguments.resume != "recipe") {
    options.resume = PretrainOptions::Resume::path;
    options.resume_path = arguments.resume;
  }
  return options;
}

// What a run asks of the job whose rank it is. Notes have a connection of their own: who waits for one holds up nobody.
RunRanks ranks_of(Job& job, Device device, std::chrono::milliseconds patience) {
  const std::shared_ptr<StoreClient> notes(new StoreClient(job.store().another()));  // made in place: it cannot be moved
  CheckpointRanks between{.rank = job.rank(), .size = job.world_size()};
  between.tell = [notes](const std::string& key, const std::string& text) { notes->set(key, text); };
  between.hear = [notes, patience](const std::string& key) {
    const std::optional<std::string> text = notes->wait(key, patience);
    if (!text) throw CommError{"store", key, "no rank has told within " + std::to_string(patience.count() / 1000) + " s", "a longer parallelism.comm_timeout_s"};
    return *text;
  };
  return {.groups = &job.groups(device), .notes = std::move(between), .ask_to_stop = [&job] { job.stop().ask(); },
          .begin_step = [&job](int64_t step) { return job.stop().begin_step(step); }};
}

void tell_end(const RunResult& result) {
  std::cout << fmt::format("{} after step {}; the run is in {}\n", result.stopped ? "stopped" : "done", result.steps, result.folder.string());
  if (!result.checkpoint.empty()) std::cout << fmt::format("try: nemo generate {} --prompt \"...\"\n", result.checkpoint.string());
}

// A rank of several: comes up, agrees with the others, trains, and leaves with them. The first one speaks.
void run_rank(const RankEnvironment& environment, const Recipe& recipe, PretrainOptions options) {
  const StopSignals signals;  // before the job's threads
  const std::unique_ptr<Job> job = join_job(environment, recipe, options.device);
  options.ranks = ranks_of(*job, options.device, std::chrono::milliseconds(static_cast<int64_t>(recipe.parallelism.comm_timeout_s * 1000)));
  RunEvents events{};
  if (environment.rank == 0) events = console_events(recipe, signals);
  events.stop_requested = [&signals] { return signals.received() != 0; };
  const RunResult result = pretrain(recipe, options, events);
  if (environment.rank == 0) tell_end(result);
  if (signals.received() != 0) throw CLI::RuntimeError(signals.exit_code());
}

void run(const PretrainArguments& arguments) {
  const std::optional<RankEnvironment> environment = this_rank();
  const bool launched_by_nemo = environment && !environment->store_prefix.empty();
  if (environment && !launched_by_nemo && arguments.num_ranks > 0)
    throw UsageError("nemo pretrain", "--nproc-per-node", "this process is already rank " + std::to_string(environment->rank) + " of " + std::to_string(environment->world_size) + " (" + environment->source + ")",
                     "leave it out");
  Recipe recipe = arguments.recipe.load();
  if (!environment || (environment->rank == 0 && !launched_by_nemo)) print_notices(recipe);
  const PretrainOptions options = pretrain_options(arguments, environment, recipe);
  require_available(recipe);
  if (arguments.dry_run) return dry_run(recipe, options.device, arguments.num_ranks);
  if (environment) return run_rank(*environment, recipe, options);
  if (arguments.num_ranks > 1) {
    const int code = run_as_ranks(arguments.num_ranks);
    if (code != 0) throw CLI::RuntimeError(code);
    return;
  }
  const StopSignals signals;
  const RunResult result = pretrain(recipe, options, console_events(recipe, signals));
  tell_end(result);
  if (signals.received() != 0) throw CLI::RuntimeError(signals.exit_code());
}

}  // namespace

void add_pretrain_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("pretrain", "Train the model of a recipe from random or given weights");
  command->footer(kFooter);
  auto arguments = std::make_shared<PretrainArguments>();
  add_recipe_arguments(*command, arguments->recipe);
  command->add_option("--device", arguments->device, "cpu, cuda, cuda:INDEX or auto (a GPU where there is one)")->capture_default_str();
  command->add_option("--nproc-per-node", arguments->num_ranks, "Ranks to start on this machine; default one")->check(CLI::Range(1, 1024));
  command->add_flag("--dry-run", arguments->dry_run, "Check the recipe, its data and its memory; train nothing");
  command->add_option("--resume", arguments->resume, "auto: the run's newest checkpoint where there is one; never; or a checkpoint's PATH. Default: as the recipe's checkpoint section says")
      ->type_name("auto|never|PATH");
  command->add_option("--plan-cache", arguments->plan_cache, "Folder where algorithms picked by timing on this GPU are kept for later runs. auto: nemo in the user's cache folder; none")
      ->capture_default_str();
  command->callback([arguments] { run(*arguments); });
}

}  // namespace nemo
