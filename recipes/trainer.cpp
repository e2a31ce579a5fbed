#include "recipes/trainer.h"

#include <algorithm>

#include "core/optim/schedule.h"
#include "recipes/precision.h"

namespace nemo {
namespace {

double count_loss_tokens(std::span<const MicroBatch> micro_batches) {
  int64_t count = 0;
  for (const MicroBatch& batch : micro_batches) count += batch.num_loss_tokens;
  return static_cast<double>(count);
}

}  // namespace

TrainerOptions trainer_options(const Recipe& recipe, const Plan& plan) {
  TrainerOptions options{.model = recipe.model, .padded_vocab_size = plan.padded_vocab_size.value(), .precision = recipe.trainer.precision, .fp8_layers = fp8_layers(recipe), .optim = recipe.optim,
                         .gradient_clip_val = recipe.trainer.gradient_clip_val, .max_steps = recipe.trainer.max_steps,
                         .parallelism = recipe.parallelism, .seed = static_cast<uint64_t>(recipe.run.seed), .deterministic = recipe.trainer.deterministic, .cuda_graph = recipe.trainer.cuda_graph};
  options.model.vocab_size = plan.vocab_size.value();
  return options;
}

Trainer::Trainer(Runtime& runtime, const TrainerOptions& options, MeshGroups* groups)
    : options_(options), ctx_(runtime, compute_dtype(options.precision), options.seed), state_(ctx_), store_(blocks_in_fp8(options.fp8_layers)), ranks_(groups, options.parallelism, options.optim, store_),
      graphs_(ctx_, store_, options.cuda_graph && groups == nullptr) {  // what several ranks wait for is not recorded yet
  if (options.fp8_layers.any()) require_fp8(runtime.device());
  ctx_.set_step_state(state_.device());
  ctx_.set_deterministic(options.deterministic);
  ctx_.set_takes_amax(options.fp8_layers.any());
  for (const BlockRange range : ranks_.block_ranges(options.model)) chunks_.push_back(std::make_unique<DecoderModel>(store_, options.model, options.padded_vocab_size, range));
  ranks_.cut_model(store_, chunks_);
  if (options.optim.decay_norms_and_biases)
    for (Parameter* parameter : store_.parameters()) parameter->weight_decay = true;
  store_.allocate(ctx_, storage_policy(options.precision, options.optim), true, ranks_.cut());
  for (const auto& chunk : chunks_) chunk->allocate_constants(ctx_);
  ranks_.follow(ctx_, chunks_);
  optimizer_ = std::make_unique<AdamW>(ctx_, store_, options.optim);
}

StepReport PendingReport::get() const {
  const kernels::StepState state = snapshot_.get();
  StepReport report = known_;
  report.loss = state.loss_sum / std::max(state.num_loss_tokens, 1.0);
  report.grad_norm = state.grad_norm;
  report.skipped = state.skip != 0;
  return report;
}

PendingReport Trainer::step(int64_t step, std::span<const MicroBatch> micro_batches) {
  kernels::StepState numbers{.step = step, .lr = static_cast<float>(learning_rate(options_.optim, step, options_.max_steps)), .clip_norm = static_cast<float>(options_.gradient_clip_val)};
  set_bias_corrections(numbers, options_.optim);
  const LeaseScope transient(ctx_.arena(), Lifetime::transient);
  begin_step(numbers, micro_batches);
  if (ranks_.has_pipeline()) {
    ranks_.run_pipeline(ctx_, place_all(micro_batches), true);
  } else {
    for (const MicroBatch& batch : micro_batches) {
      const TokenLayout tokens = place(batch);
      graphs_.run(StepPart::micro_batch, shape_of(tokens), [&] { forward_backward(tokens); });
    }
  }
  graphs_.run(StepPart::update, {}, [&] {
    ranks_.sum_gradients(ctx_, store_);
    optimizer_->step(ctx_, [&](ExecContext& ctx) { ranks_.sum_norm(ctx, state_); });
  });
  ranks_.gather_values(ctx_);
  return PendingReport({.step = step, .lr = numbers.lr}, state_.snapshot(ctx_));
}

StepReport Trainer::accumulate_gradients(std::span<const MicroBatch> micro_batches) {
  const LeaseScope transient(ctx_.arena(), Lifetime::transient);
  begin_step({.step = 1}, micro_batches);
  if (ranks_.has_pipeline()) ranks_.run_pipeline(ctx_, place_all(micro_batches), true);
  else
    for (const MicroBatch& batch : micro_batches) forward_backward(place(batch));
  ranks_.sum_gradients(ctx_, store_);
  ranks_.sum_loss(ctx_, state_);
  return PendingReport({.step = 1}, state_.snapshot(ctx_)).get();
}

void Trainer::begin_step(kernels::StepState numbers, std::span<const MicroBatch> micro_batches) {
  numbers.num_loss_tokens = ranks_.counts_loss_tokens() ? count_loss_tokens(micro_batches) : 0;
  numbers.inverse_loss_denominator = 1.0f / static_cast<float>(std::max(numbers.num_loss_tokens, 1.0));
  state_.begin(ctx_, numbers);
  store_.begin_step();
  ranks_.begin_step(ctx_, state_, static_cast<int64_t>(micro_batches.size()));
  ctx_.set_training(true);
}

TokenLayout Trainer::place(const MicroBatch& batch, size_t slot) {
  const int64_t num_tokens = static_cast<int64_t>(batch.tokens.size());
  auto found = batch_buffers_.find({slot, num_tokens});
  if (found == batch_buffers_.end()) {
    const LeaseScope lasting(ctx_.arena(), Lifetime::lasting);
    found = batch_buffers_.try_emplace({slot, num_tokens}, ctx_, num_tokens).first;
  }
  return found->second.place(ctx_, batch, ranks_.model());
}

std::vector<TokenLayout> Trainer::place_all(std::span<const MicroBatch> micro_batches) {
  std::vector<TokenLayout> placed;
  for (const MicroBatch& batch : micro_batches) placed.push_back(place(batch, placed.size()));
  return placed;
}

void Trainer::forward_backward(const TokenLayout& tokens) {
  Tape tape;
  tape.set_block_hooks(ranks_.block_hooks());
  const Recording recording(ctx_, tape);
  const Tensor log_prob = model().forward(ctx_, tokens).output;
  tape.backward(ctx_, {{log_prob, Tensor()}});
}

double Trainer::validate(std::span<const MicroBatch> micro_batches) {
  const LeaseScope transient(ctx_.arena(), Lifetime::transient);
  state_.begin(ctx_, {.num_loss_tokens = ranks_.counts_loss_tokens() ? count_loss_tokens(micro_batches) : 0});
  ranks_.begin_step(ctx_, state_, 0);
  ctx_.set_training(false);
  if (ranks_.has_pipeline()) ranks_.run_pipeline(ctx_, place_all(micro_batches), false);
  else
    for (const MicroBatch& batch : micro_batches) model().forward(ctx_, place(batch));
  ranks_.sum_loss(ctx_, state_);
  return PendingReport({}, state_.snapshot(ctx_)).get().loss;
}

}  // namespace nemo
