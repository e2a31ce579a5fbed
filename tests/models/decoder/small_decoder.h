// A small decoder with a batch, for tests that run whole models.
#pragma once
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/autograd/tape.h"
#include "core/ops/copy.h"
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

// In fp32, or in bf16 with the linears of the first two layers in fp8.
struct Arithmetic {
  bool fp8 = false;
  DType dtype() const { return fp8 ? DType::bf16 : DType::fp32; }
  std::function<bool(const std::string&)> quantised_block() const {
    if (!fp8) return {};
    return [](const std::string& block) { return block == "layers.0" || block == "layers.1"; };
  }
};

// A model that owns all it needs.
struct SmallDecoder {
  SmallDecoder(Device device, const DecoderConfig& config, DType dtype = DType::fp32, const std::function<bool(const std::string&)>& quantised_block = {}, int64_t padded_vocab_size = 0)
      : runtime(device, false), ctx(runtime, dtype, 7), state(ctx), store(quantised_block),
        model(store, config, padded_vocab_size > 0 ? padded_vocab_size : (config.vocab_size + 15) / 16 * 16) {
    ctx.set_step_state(state.device());
    ctx.set_deterministic(true);
    ctx.set_takes_amax(quantised_block != nullptr);
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

inline DecoderConfig config_with_dropout(const std::string& family) {
  DecoderConfig config = small_config(family);
  config.hidden_dropout = 0.1;
  config.attention_dropout = 0.1;
  config.embedding_dropout = 0.1;
  return config;
}

// What a step leaves behind, for comparing bits.
struct Outcome {
  double loss = 0;
  std::map<std::string, std::vector<float>> gradients;
  bool operator==(const Outcome&) const = default;
};

inline void begin(SmallDecoder& decoder, int64_t num_loss_tokens) {
  decoder.state.begin(decoder.ctx, {.step = 3, .inverse_loss_denominator = 1.0f / static_cast<float>(num_loss_tokens)});
  decoder.store.begin_step();
  decoder.ctx.set_training(true);
}

inline void forward_backward(SmallDecoder& decoder, const MicroBatch& batch, Tape& tape) {
  const TokenLayout tokens = place(decoder.ctx, batch);
  const Recording recording(decoder.ctx, tape);
  const Tensor log_prob = decoder.model.forward(decoder.ctx, tokens).output;
  tape.backward(decoder.ctx, {{log_prob, Tensor()}});
}

inline Outcome outcome(SmallDecoder& decoder) {
  Outcome result{.loss = decoder.state.snapshot(decoder.ctx).get().loss_sum, .gradients = {}};
  for (const Parameter* parameter : decoder.store.parameters())
    if (parameter->trainable) result.gradients[parameter->name] = decoder.store.read_gradient(decoder.ctx, *parameter);
  return result;
}

// The flat buffers whose parameters a block uses; the head of a tied model uses the embedding's.
inline std::vector<FlatBuffer*> buffers_of(SmallDecoder& decoder, const std::string& block) {
  std::vector<FlatBuffer*> buffers;
  const bool tied = decoder.model.config().share_embeddings_and_output_weights;
  for (FlatBuffer& flat : decoder.store.flat_buffers())
    if (flat.key.block == block || (tied && block == "head" && flat.key.block == "embedding")) buffers.push_back(&flat);
  return buffers;
}

// Weights that are there only between gather and release; poison otherwise.
class ReleasedWeights {
 public:
  explicit ReleasedWeights(SmallDecoder& decoder) : decoder_(decoder) {
    for (FlatBuffer& flat : decoder.store.flat_buffers()) copies_[&flat] = read_fp32(decoder.ctx, flat.values);
    for (int64_t i = 0; i < decoder.model.num_blocks(); ++i) release(decoder.model.block(i).name());
  }
  void gather(const std::string& block) {
    for (FlatBuffer* flat : buffers_of(decoder_, block)) write_fp32(decoder_.ctx, flat->values, copies_.at(flat).data());
  }
  void release(const std::string& block) {
    for (FlatBuffer* flat : buffers_of(decoder_, block)) {
      const std::vector<float> poison(static_cast<size_t>(flat->numel), NAN);
      write_fp32(decoder_.ctx, flat->values, poison.data());
    }
  }
  BlockHooks hooks() {
    const auto in = [this](ExecContext&, const std::string& block) { gather(block); };
    const auto out = [this](ExecContext&, const std::string& block) { release(block); };
    return {.before_forward = in, .after_forward = out, .before_backward = in, .after_backward = out};
  }

 private:
  SmallDecoder& decoder_;
  std::map<const FlatBuffer*, std::vector<float>> copies_;
};

// Saved tensors kept as host copies.
struct PackedAway {
  int packed = 0, unpacked = 0;
  SavedTensorHooks hooks() {
    return {.pack = [this](ExecContext& ctx, const Tensor& whole) -> std::shared_ptr<void> {
              auto bytes = std::make_shared<std::vector<char>>(whole.bytes());
              download(ctx, bytes->data(), whole);
              ++packed;
              return bytes;
            },
            .unpack = [this](ExecContext& ctx, const std::shared_ptr<void>& kept) {
              const auto& bytes = *static_cast<const std::vector<char>*>(kept.get());
              const Tensor whole = ctx.empty({static_cast<int64_t>(bytes.size())}, DType::uint8);
              upload(ctx, whole, bytes.data());
              ++unpacked;
              return whole;
            }};
  }
};

}  // namespace nemo::test
