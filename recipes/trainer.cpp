#include "recipes/trainer.h"

#include <algorithm>

#include "core/optim/schedule.h"
#include "recipes/batch_layout.h"
#include "recipes/precision.h"

namespace nemo {
namespace {

int64_t count_loss_tokens(std::span<const MicroBatch> micro_batches) {
  int64_t count = 0;
  for (const MicroBatch& batch : micro_batches) count += batch.num_loss_tokens;
  return std::max<int64_t>(count, 1);
}

}  // namespace

TrainerOptions trainer_options(const Recipe& recipe, const Plan& plan) {
  TrainerOptions options{.model = recipe.model, .padded_vocab_size = plan.padded_vocab_size.value(), .precision = recipe.trainer.precision, .fp8_layers = fp8_layers(recipe), .optim = recipe.optim,
                         .gradient_clip_val = recipe.trainer.gradient_clip_val, .max_steps = recipe.trainer.max_steps,
                         .seed = static_cast<uint64_t>(recipe.run.seed), .deterministic = recipe.trainer.deterministic};
  options.model.vocab_size = plan.vocab_size.value();
  return options;
}

Trainer::Trainer(Runtime& runtime, const TrainerOptions& options)
    : options_(options), ctx_(runtime, compute_dtype(options.precision), options.seed), state_(ctx_), store_(blocks_in_fp8(options.fp8_layers)), model_(store_, options.model, options.padded_vocab_size) {
  if (options.fp8_layers.any()) require_fp8(runtime.device());
  ctx_.set_step_state(state_.device());
  ctx_.set_deterministic(options.deterministic);
  ctx_.set_takes_amax(options.fp8_layers.any());
  if (options.optim.decay_norms_and_biases)
    for (Parameter* parameter : store_.parameters()) parameter->weight_decay = true;
  store_.allocate(ctx_, storage_policy(options.precision, options.optim), true);
  model_.allocate_constants(ctx_);
  optimizer_ = std::make_unique<AdamW>(ctx_, store_, options.optim);
}

StepReport PendingReport::get() const {
  const kernels::StepState state = snapshot_.get();
  StepReport report = known_;
  report.loss = state.loss_sum / static_cast<double>(num_loss_tokens_);
  report.grad_norm = state.grad_norm;
  report.skipped = state.skip != 0;
  return report;
}

PendingReport Trainer::step(int64_t step, std::span<const MicroBatch> micro_batches) {
  const int64_t num_loss_tokens = count_loss_tokens(micro_batches);
  kernels::StepState numbers{.step = step, .lr = static_cast<float>(learning_rate(options_.optim, step, options_.max_steps)),
                             .inverse_loss_denominator = 1.0f / static_cast<float>(num_loss_tokens), .clip_norm = static_cast<float>(options_.gradient_clip_val)};
  set_bias_corrections(numbers, options_.optim);
  begin_step(numbers);
  for (const MicroBatch& batch : micro_batches) forward_backward(batch);
  optimizer_->step(ctx_);
  return PendingReport({.step = step, .lr = numbers.lr}, num_loss_tokens, state_.snapshot(ctx_));
}

StepReport Trainer::accumulate_gradients(std::span<const MicroBatch> micro_batches) {
  const int64_t num_loss_tokens = count_loss_tokens(micro_batches);
  begin_step({.step = 1, .inverse_loss_denominator = 1.0f / static_cast<float>(num_loss_tokens)});
  for (const MicroBatch& batch : micro_batches) forward_backward(batch);
  store_.zero_unwritten(ctx_);
  return PendingReport({.step = 1}, num_loss_tokens, state_.snapshot(ctx_)).get();
}

void Trainer::begin_step(const kernels::StepState& numbers) {
  state_.begin(ctx_, numbers);
  store_.begin_step();
  ctx_.set_training(true);
}

void Trainer::forward_backward(const MicroBatch& batch) {
  const TokenLayout tokens = place(ctx_, batch);
  Tape tape;
  const Recording recording(ctx_, tape);
  const Tensor log_prob = model_.forward(ctx_, tokens).output;
  tape.backward(ctx_, {{log_prob, Tensor()}});
}

double Trainer::validate(std::span<const MicroBatch> micro_batches) {
  state_.begin(ctx_, {});
  ctx_.set_training(false);
  for (const MicroBatch& batch : micro_batches) model_.forward(ctx_, place(ctx_, batch));
  return state_.snapshot(ctx_).get().loss_sum / static_cast<double>(count_loss_tokens(micro_batches));
}

}  // namespace nemo
