#include "recipes/trainer.h"

#include <algorithm>

#include "core/optim/schedule.h"
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
                         .seed = static_cast<uint64_t>(recipe.run.seed), .deterministic = recipe.trainer.deterministic, .cuda_graph = recipe.trainer.cuda_graph};
  options.model.vocab_size = plan.vocab_size.value();
  return options;
}

Trainer::Trainer(Runtime& runtime, const TrainerOptions& options)
    : options_(options), ctx_(runtime, compute_dtype(options.precision), options.seed), state_(ctx_), store_(blocks_in_fp8(options.fp8_layers)), model_(store_, options.model, options.padded_vocab_size),
      graphs_(ctx_, store_, options.cuda_graph) {
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
  const LeaseScope transient(ctx_.arena(), Lifetime::transient);
  begin_step(numbers);
  for (const MicroBatch& batch : micro_batches) {
    const TokenLayout tokens = place(batch);
    graphs_.run(StepPart::micro_batch, shape_of(tokens), [&] { forward_backward(tokens); });
  }
  graphs_.run(StepPart::update, {}, [&] { optimizer_->step(ctx_); });
  return PendingReport({.step = step, .lr = numbers.lr}, num_loss_tokens, state_.snapshot(ctx_));
}

StepReport Trainer::accumulate_gradients(std::span<const MicroBatch> micro_batches) {
  const int64_t num_loss_tokens = count_loss_tokens(micro_batches);
  const LeaseScope transient(ctx_.arena(), Lifetime::transient);
  begin_step({.step = 1, .inverse_loss_denominator = 1.0f / static_cast<float>(num_loss_tokens)});
  for (const MicroBatch& batch : micro_batches) forward_backward(place(batch));
  store_.zero_unwritten(ctx_);
  return PendingReport({.step = 1}, num_loss_tokens, state_.snapshot(ctx_)).get();
}

void Trainer::begin_step(const kernels::StepState& numbers) {
  state_.begin(ctx_, numbers);
  store_.begin_step();
  ctx_.set_training(true);
}

TokenLayout Trainer::place(const MicroBatch& batch) {
  const int64_t num_tokens = static_cast<int64_t>(batch.tokens.size());
  for (BatchBuffers& buffers : batch_buffers_)
    if (buffers.num_tokens() == num_tokens) return buffers.place(ctx_, batch);
  const LeaseScope lasting(ctx_.arena(), Lifetime::lasting);
  return batch_buffers_.emplace_back(ctx_, num_tokens).place(ctx_, batch);
}

void Trainer::forward_backward(const TokenLayout& tokens) {
  Tape tape;
  const Recording recording(ctx_, tape);
  const Tensor log_prob = model_.forward(ctx_, tokens).output;
  tape.backward(ctx_, {{log_prob, Tensor()}});
}

double Trainer::validate(std::span<const MicroBatch> micro_batches) {
  const LeaseScope transient(ctx_.arena(), Lifetime::transient);
  state_.begin(ctx_, {});
  ctx_.set_training(false);
  for (const MicroBatch& batch : micro_batches) model_.forward(ctx_, place(batch));
  return state_.snapshot(ctx_).get().loss_sum / static_cast<double>(count_loss_tokens(micro_batches));
}

}  // namespace nemo
