#include "recipes/pretrain.h"

#include <chrono>
#include <cmath>
#include <fstream>

#include "core/error.h"
#include "recipes/availability.h"
#include "recipes/consistency.h"
#include "recipes/metrics_log.h"
#include "recipes/plan.h"
#include "recipes/run_checkpoint.h"
#include "recipes/run_data.h"
#include "recipes/trainer.h"
#include "recipes/datasheet.h"

namespace nemo {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

DataLoaderOptions loader_options(const Recipe& recipe, const Plan& plan, const Mesh& mesh, int64_t consumed_samples) {
  return {.micro_batch_size = recipe.data.micro_batch_size, .shard_index = mesh.coordinate(Axis::data), .num_shards = plan.data_parallel_size, .consumed_samples = consumed_samples,
          .vocab_size = plan.vocab_size.value(), .num_prefetched = 2 * plan.gradient_accumulation_steps};
}

std::vector<MicroBatch> next_global_batch(DataLoader& loader, const Plan& plan) {
  std::vector<MicroBatch> batches;
  for (int64_t i = 0; i < plan.gradient_accumulation_steps; ++i) {
    std::optional<MicroBatch> batch = loader.next();
    if (!batch) throw DataError{"data", "train split", "has no sample left", "fewer trainer.max_steps, or more data"};
    batches.push_back(std::move(*batch));
  }
  return batches;
}

// The mesh of the ranks that train together, and its groups; one rank needs none.
std::unique_ptr<MeshGroups> mesh_groups(const Recipe& recipe, const RunRanks& ranks) {
  if (ranks.groups == nullptr) return nullptr;
  return std::make_unique<MeshGroups>(Mesh(MeshSizes(recipe.parallelism, ranks.groups->world_size()), ranks.groups->rank()), *ranks.groups);
}

// The run while it goes: everything the loop needs between two steps.
class Run {
 public:
  Run(const Recipe& recipe, const PretrainOptions& options, const RunEvents& events)
      : recipe_(recipe), options_(options), events_(events), started_(Clock::now()), tokenizer_(open_tokenizer(recipe)), plan_(plan_run(recipe, tokenizer_.get(), options.ranks.groups == nullptr ? 1 : options.ranks.groups->world_size())),
        data_(open_data(recipe, plan_, tokenizer_.get())), runtime_(opened(), !recipe.trainer.deterministic, 0, options.plan_folder), groups_(mesh_groups(recipe, options.ranks)), trainer_(runtime_, trainer_options(recipe, plan_), groups_.get()),
        checkpoints_(recipe, tokenizer_.get(), options.ranks.notes), folder_(run_folder(recipe)) {
    phase("build");
    restore();
    if (!first_rank()) return;
    std::filesystem::create_directories(folder_);
    std::ofstream(folder_ / "recipe.yaml") << print_recipe(recipe);
    if (recipe.logger.jsonl) log_.emplace(folder_ / "metrics.jsonl", progress_.step);
  }

  RunResult go() {
    DataLoader loader(data_.train, loader_options(recipe_, plan_, trainer_.ranks().mesh(), progress_.consumed_samples));
    Event step_start(runtime_.stream());
    std::optional<Queued> queued;
    bool stopped = false;
    while (progress_.step < recipe_.trainer.max_steps && !stopped) {
      const std::vector<MicroBatch> batches = next_global_batch(loader, plan_);
      ++progress_.step;
      const bool agreed_last = options_.ranks.begin_step && options_.ranks.begin_step(progress_.step);
      PendingReport report = trainer_.step(progress_.step, batches);
      progress_.consumed_samples = loader.consumed_samples();
      keep_plans();
      if (queued) finish(*queued, step_start);  // the step before, while the device works on this one
      queued.emplace(Queued{std::move(report), progress_.consumed_samples});
      stopped = stops_after_this_step(agreed_last);
      const bool last = stopped || progress_.step == recipe_.trainer.max_steps;
      const bool validate_now = due(recipe_.trainer.val_check_interval) || (last && data_.validation != nullptr && recipe_.trainer.val_check_interval > 0);
      const bool save_now = saving() && (due(recipe_.checkpoint.save_interval) || last);
      // Where steps do not overlap, each is told of at once.
      if (options_.device.is_cuda() && !validate_now && !save_now && !last) continue;
      finish(*queued, step_start);
      queued.reset();
      if (validate_now) validate();
      if (save_now) save();
      step_start = Event(runtime_.stream());
    }
    checkpoints_.finish();
    return {.steps = progress_.step, .loss = last_loss_, .validation_loss = progress_.last_validation_loss, .stopped = stopped, .folder = folder_, .checkpoint = checkpoints_.last_saved()};
  }

 private:
  struct Queued { PendingReport report; int64_t consumed_samples; };

  Device opened() {
    phase("data");
    return options_.device;
  }

  void phase(const std::string& name) {
    if (events_.on_phase) events_.on_phase(name, seconds_since(started_));
    started_ = Clock::now();
  }

  bool saving() const { return recipe_.checkpoint.save != "none"; }
  bool due(int64_t interval) const { return interval > 0 && progress_.step % interval == 0; }

  bool first_rank() const { return options_.ranks.notes.rank == 0; }

  // One rank stops when it is asked to; several agree on a step first.
  bool stops_after_this_step(bool agreed_last) const {
    if (!options_.ranks.begin_step) return asked_to_stop();
    if (asked_to_stop()) options_.ranks.ask_to_stop();
    return agreed_last;
  }

  bool asked_to_stop() const {
    if (events_.stop_requested && events_.stop_requested()) return true;
    return recipe_.trainer.max_time.value > 0 && seconds_since(run_start_) >= recipe_.trainer.max_time.value;
  }

  void restore() {
    const std::optional<std::filesystem::path> from = checkpoint_to_load();
    if (from) {
      progress_ = load_run(trainer_, *from);
      notify("resumed from " + from->string() + " at step " + std::to_string(progress_.step));
      phase("load");
    } else if (!recipe_.checkpoint.pretrained_checkpoint.empty()) {
      load_weights(trainer_.ctx(), trainer_.store(), recipe_.checkpoint.pretrained_checkpoint);
      phase("load");
    } else {
      trainer_.initialise();
      phase("initialise");
    }
  }

  std::optional<std::filesystem::path> checkpoint_to_load() const {
    if (options_.resume == PretrainOptions::Resume::path) return options_.resume_path;
    if (!recipe_.checkpoint.load.empty()) return recipe_.checkpoint.load;
    if (options_.resume != PretrainOptions::Resume::automatic || !recipe_.checkpoint.resume_if_exists) return std::nullopt;
    // One rank looks: what is newest and good must not differ from rank to rank.
    const CheckpointRanks& ranks = options_.ranks.notes;
    std::optional<std::filesystem::path> found;
    if (first_rank()) {
      std::vector<std::string> notices;
      found = checkpoints_.newest(notices);
      for (const std::string& notice : notices) notify(notice);
      if (ranks.size > 1) ranks.tell("resume_from", found ? found->string() : "");
    } else if (const std::string path = ranks.hear("resume_from"); !path.empty()) {
      found = path;
    }
    return found;
  }

  // Writes down what the step chose, while the device works on it, and tells what became of plans that were read.
  void keep_plans() {
    runtime_.plans().write();
    for (const std::string& notice : runtime_.plans().take_notices()) notify(notice);
  }

  void notify(const std::string& text) const {
    if (events_.on_notice) events_.on_notice(text);
  }

  // Waits for a queued step and tells of it. Steps overlap, so a step's time is from the end of the one before.
  void finish(Queued& queued, Event& step_start) {
    const StepReport report = queued.report.get();
    Event step_end = queued.report.take_event();
    const double step_s = Event::milliseconds_between(step_start, step_end) * 1e-3;
    step_start = std::move(step_end);
    last_loss_ = report.loss;
    progress_.skipped_steps += report.skipped;
    const double tokens_per_s = static_cast<double>(plan_.tokens_per_step) / step_s, ranks = static_cast<double>(plan_.world_size);
    StepMetrics metrics{.step = report.step, .max_steps = recipe_.trainer.max_steps, .loss = report.loss, .lr = report.lr, .grad_norm = report.grad_norm,
                        .step_ms = step_s * 1e3, .tokens_per_s = tokens_per_s, .tflops = tokens_per_s / ranks * plan_.flops_per_token->causal * 1e-12,
                        .tflops_full = tokens_per_s / ranks * plan_.flops_per_token->full * 1e-12, .memory_bytes = runtime_.arena().stats().peak_bytes,
                        .consumed_samples = queued.consumed_samples, .consumed_tokens = queued.consumed_samples * recipe_.model.seq_length,
                        .skipped_steps = progress_.skipped_steps, .eta_s = eta(report.step, step_s), .skipped = report.skipped};
    if (peak_tflops_) metrics.peak_share = metrics.tflops / *peak_tflops_;
    if (log_) log_->write(metrics);
    if (events_.on_step) events_.on_step(metrics);
  }

  // From a running mean of step times; the first step, which warms up, does not count once there is another.
  double eta(int64_t step, double step_s) {
    mean_step_s_ = steps_timed_ <= 1 ? step_s : 0.9 * mean_step_s_ + 0.1 * step_s;
    ++steps_timed_;
    return mean_step_s_ * static_cast<double>(recipe_.trainer.max_steps - step);
  }

  void validate() {
    // Always the same samples, so that losses compare.
    DataLoader loader(data_.validation, loader_options(recipe_, plan_, trainer_.ranks().mesh(), 0));
    std::vector<MicroBatch> batches;
    for (int64_t i = 0; i < recipe_.trainer.limit_val_batches * plan_.gradient_accumulation_steps; ++i) {
      std::optional<MicroBatch> batch = loader.next();
      if (!batch) break;
      batches.push_back(std::move(*batch));
    }
    if (batches.empty()) throw DataError{"data", "validation split", "is smaller than one batch", "trainer.val_check_interval=null, or a larger share in data.split"};
    const double loss = trainer_.validate(batches);
    const bool best = !progress_.best_validation_loss || loss < *progress_.best_validation_loss;
    if (best) progress_.best_validation_loss = loss;
    progress_.last_validation_loss = loss;
    const ValidationMetrics metrics{.step = progress_.step, .loss = loss, .perplexity = std::exp(loss), .best = best};
    if (log_) log_->write(metrics);
    if (events_.on_validation) events_.on_validation(metrics);
  }

  void save() {
    checkpoints_.save(trainer_, progress_);
    if (events_.on_saved) events_.on_saved(checkpoints_.last_saved().string(), progress_.step);
  }

  const Recipe& recipe_;
  const PretrainOptions& options_;
  const RunEvents& events_;
  const Clock::time_point run_start_ = Clock::now();
  const std::optional<double> peak_tflops_ = datasheet_peak_tflops(options_.device, recipe_.trainer.precision);
  Clock::time_point started_;
  std::unique_ptr<Tokenizer> tokenizer_;
  Plan plan_;
  RunData data_;
  Runtime runtime_;
  std::unique_ptr<MeshGroups> groups_;
  Trainer trainer_;
  RunCheckpoints checkpoints_;
  std::filesystem::path folder_;
  std::optional<MetricsLog> log_;
  RunProgress progress_;
  double last_loss_ = 0, mean_step_s_ = 0;
  int64_t steps_timed_ = 0;
};

}  // namespace

std::filesystem::path run_folder(const Recipe& recipe) { return std::filesystem::path(recipe.run.results_dir) / recipe.run.name; }

RunResult pretrain(const Recipe& recipe, const PretrainOptions& options, const RunEvents& events) {
  require_available(recipe);
  require_data(recipe);
  return Run(recipe, options, events).go();
}

}  // namespace nemo
