// A small decoder with a batch, for tests that run whole models.
#pragma once
#include <memory>
#include <vector>

#include "core/autograd/tape.h"
#include "core/optim/step_state.h"
#include "models/decoder/model.h"
#include "models/registry.h"
#include "recipes/batch_layout.h"

namespace nemo::test {

inline DecoderConfig small_config(const std::string& family) {
  DecoderConfig config = family_defaults(family).value();
  config.num_layers = 3;
  config.hidden_size = 48;
  config.num_attention_heads = 4;
  config.num_query_groups = family == "gpt" ? 4 : 2;
  config.head_dim = 12;
  config.ffn_hidden_size = 80;
  config.vocab_size = 61;
  config.seq_length = 16;
  config.max_position_embeddings = 16;
  config.window_size = family == "mistral" ? 6 : 0;
  config.resolve();
  return config;
}

inline MicroBatch small_batch(const DecoderConfig& config, int64_t num_samples, uint32_t seed) {
  MicroBatch batch{.micro_batch_size = num_samples, .seq_length = config.seq_length, .tokens = {}, .labels = {}, .positions = {}, .segment_offsets = {0}, .sample_numbers = {}};
  uint32_t state = seed;
  const auto draw = [&] { return static_cast<int32_t>((state = state * 1664525u + 1013904223u) >> 8) % static_cast<int32_t>(config.vocab_size); };
  for (int64_t i = 0; i < num_samples; ++i) {
    for (int64_t t = 0; t < config.seq_length; ++t) {
      batch.tokens.push_back(draw());
      batch.labels.push_back(t % 5 == 3 ? kIgnoredLabel : draw());
      batch.positions.push_back(static_cast<int32_t>(t));
      batch.num_loss_tokens += batch.labels.back() != kIgnoredLabel;
    }
    batch.segment_offsets.push_back(static_cast<int32_t>((i + 1) * config.seq_length));
    batch.sample_numbers.push_back(i);
  }
  return batch;
}

// A model that owns all it needs.
struct SmallDecoder {
  SmallDecoder(Device device, const DecoderConfig& config, DType dtype = DType::fp32, int64_t padded_vocab_size = 0)
      : runtime(device, false), ctx(runtime, dtype, 7), state(ctx), model(store, config, padded_vocab_size > 0 ? padded_vocab_size : (config.vocab_size + 15) / 16 * 16) {
    ctx.set_step_state(state.device());
    ctx.set_deterministic(true);
  }
  void allocate() {
    store.allocate(ctx, {.values = ctx.compute_dtype(), .gradients = DType::fp32, .master = ctx.compute_dtype() == DType::bf16}, true);
    store.initialise(ctx, 7);
    model.allocate_constants(ctx);
  }

  Runtime runtime;
  ExecContext ctx;
  StepStateBuffer state;
  ParameterStore store;
  DecoderModel model;
};

}  // namespace nemo::test
