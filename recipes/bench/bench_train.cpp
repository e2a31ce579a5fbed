#include "recipes/bench/bench_train.h"

#include <algorithm>
#include <chrono>

#include "core/data/data_loader.h"
#include "core/error.h"
#include "recipes/availability.h"
#include "recipes/datasheet.h"
#include "recipes/dry_run.h"
#include "recipes/precision.h"
#include "recipes/run_data.h"
#include "recipes/trainer.h"

namespace nemo {
namespace {

using Clock = std::chrono::steady_clock;

bool sets_global_batch_size(const std::string& override) {
  return override.starts_with("data.global_batch_size=");
}

// The steps of a bench: queued ahead by one, like a run's.
class Steps {
 public:
  Steps(const Recipe& recipe, const BenchTrainOptions& options, const Plan& plan, const RunData& data)
      : plan_(plan),
        runtime_(options.device, !recipe.trainer.deterministic),
        trainer_(runtime_, trainer_options(recipe, plan)),
        loader_(data.train, {.micro_batch_size = recipe.data.micro_batch_size,
                             .vocab_size = plan.vocab_size.value(),
                             .num_prefetched = 2 * plan.gradient_accumulation_steps}) {
    trainer_.initialise();
  }

  Runtime& runtime() { return runtime_; }

  // Steps one after the other; what each took since the end of the one before it. The first call's first step has none.
  std::vector<double> run(int64_t count) {
    std::vector<double> ms;
    std::optional<PendingReport> queued;
    for (int64_t i = 0; i <= count; ++i) {
      std::optional<PendingReport> next;
      if (i < count) next.emplace(trainer_.step(++step_, global_batch()));
      if (queued) {
        last_loss_ = queued->get().loss;
        Event end = queued->take_event();
        if (last_end_) ms.push_back(Event::milliseconds_between(*last_end_, end));
        last_end_.emplace(std::move(end));
      }
      queued = std::move(next);
    }
    return ms;
  }

  double last_loss() const { return last_loss_; }

 private:
  std::vector<MicroBatch> global_batch() {
    std::vector<MicroBatch> batches;
    for (int64_t i = 0; i < plan_.gradient_accumulation_steps; ++i)
      batches.push_back(loader_.next().value());  // made-up tokens do not end
    return batches;
  }

  const Plan& plan_;
  Runtime runtime_;
  Trainer trainer_;
  DataLoader loader_;
  std::optional<Event> last_end_;
  int64_t step_ = 0;
  double last_loss_ = 0;
};

void measure_steps(TrainBench& bench, const Recipe& recipe, const BenchTrainOptions& options, const RunData& data,
                   Clock::time_point called) {
  Steps steps(recipe, options, bench.plan, data);
  steps.run(1);
  bench.first_step_s = options.process_age_s + std::chrono::duration<double>(Clock::now() - called).count();
  bench.loss_first = steps.last_loss();
  // Warm-up and timed steps in one go, so that the host stays a step ahead.
  std::vector<double> ms = steps.run(options.num_warmup_steps - 1 + options.num_steps);
  bench.step_ms = spread_of({ms.end() - options.num_steps, ms.end()});
  bench.loss_last = steps.last_loss();
  bench.peak_memory_bytes = steps.runtime().arena().stats().peak_bytes;
  if (options.profile) {
    const int64_t count = std::min<int64_t>(options.num_steps, 10);
    bench.profile = profile_steps(steps.runtime(), count, [&] { steps.run(count); });
  }
}

}  // namespace

Recipe bench_train_recipe(const BenchTrainSettings& settings, const RecipeFolders& folders) {
  std::vector<std::string> overrides{"data.blend=null", "data.text=null", "data.mock=true",
                                     "trainer.val_check_interval=null", "checkpoint.save=none"};
  const auto add = [&](const char* key, const auto& value) {
    if (value) overrides.push_back(std::string(key) + "=" + std::to_string(*value));
  };
  add("data.micro_batch_size", settings.micro_batch_size);
  add("data.global_batch_size", settings.global_batch_size);
  add("model.seq_length", settings.seq_length);
  if (settings.precision) overrides.push_back("trainer.precision=" + *settings.precision);
  overrides.insert(overrides.end(), settings.overrides.begin(), settings.overrides.end());
  Recipe recipe = load_recipe(settings.recipe, overrides, folders);
  recipe.notices.clear();  // of settings that a bench leaves aside on purpose
  const bool given = settings.global_batch_size ||
                     std::any_of(settings.overrides.begin(), settings.overrides.end(), sets_global_batch_size);
  if (!given) recipe.data.global_batch_size = recipe.data.micro_batch_size;
  return recipe;
}

TrainBench bench_train(const Recipe& recipe, const BenchTrainOptions& options) {
  const Clock::time_point called = Clock::now();
  require_available(recipe);
  if (options.profile) require_step_profile(options.device);
  // Made-up tokens need no tokenizer where the recipe says how many there are.
  const std::unique_ptr<Tokenizer> tokenizer = recipe.model.vocab_size > 0 ? nullptr : open_tokenizer(recipe);
  TrainBench bench{.plan = plan_run(recipe, tokenizer.get())};
  measure_steps(bench, recipe, options, open_data(recipe, bench.plan, tokenizer.get()), called);

  bench.tokens_per_s = static_cast<double>(bench.plan.tokens_per_step) / (bench.step_ms.median * 1e-3);
  bench.tflops_causal = bench.tokens_per_s * bench.plan.flops_per_token->causal * 1e-12;
  bench.tflops_megatron = bench.tokens_per_s * bench.plan.flops_per_token->full * 1e-12;
  if (const auto peak = datasheet_peak_tflops(options.device, recipe.trainer.precision))
    bench.mfu_datasheet = bench.tflops_causal / *peak;
  bench.estimated_memory_bytes = estimate_memory(recipe, bench.plan, options.device.type).peak_bytes;
  // The run's memory is free again: the product neither counts in its peak nor lacks room.
  Runtime runtime(options.device);
  bench.gemm_peak = measure_gemm_peak(runtime, compute_dtype(recipe.trainer.precision));
  return bench;
}

}  // namespace nemo
