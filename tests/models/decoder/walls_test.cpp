// The promises that later rooms are built on (gathered weights, packed activations, deferred weight gradients, frozen
// weights, stages, the meta device), each proved on one rank: loss and gradients must be the same bits.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <map>

#include "core/ops/copy.h"
#include "tests/models/decoder/small_decoder.h"

namespace nemo::test {
namespace {

struct Outcome {
  double loss = 0;
  std::map<std::string, std::vector<float>> gradients;
  bool operator==(const Outcome&) const = default;
};

DecoderConfig config_with_dropout(const std::string& family) {
  DecoderConfig config = small_config(family);
  config.hidden_dropout = 0.1;
  config.attention_dropout = 0.1;
  config.embedding_dropout = 0.1;
  return config;
}

// In fp32, or in bf16 with the linears of the first two layers in fp8.
struct Arithmetic {
  bool fp8;
  DType dtype() const { return fp8 ? DType::bf16 : DType::fp32; }
  std::function<bool(const std::string&)> quantised_block() const {
    if (!fp8) return {};
    return [](const std::string& block) { return block == "layers.0" || block == "layers.1"; };
  }
};

void begin(SmallDecoder& decoder, const MicroBatch& batch) {
  decoder.state.begin(decoder.ctx, {.step = 3, .inverse_loss_denominator = 1.0f / static_cast<float>(batch.num_loss_tokens)});
  decoder.store.begin_step();
  decoder.ctx.set_training(true);
}

Outcome outcome(SmallDecoder& decoder) {
  Outcome result{.loss = decoder.state.snapshot(decoder.ctx).get().loss_sum, .gradients = {}};
  for (const Parameter* parameter : decoder.store.parameters())
    if (parameter->trainable) result.gradients[parameter->name] = decoder.store.read_gradient(decoder.ctx, *parameter);
  return result;
}

void run(SmallDecoder& decoder, const MicroBatch& batch, Tape& tape) {
  begin(decoder, batch);
  const TokenLayout tokens = place(decoder.ctx, batch);
  const Recording recording(decoder.ctx, tape);
  const Tensor log_prob = decoder.model.forward(decoder.ctx, tokens).output;
  tape.backward(decoder.ctx, {{log_prob, Tensor()}});
}

Outcome plain(const DecoderConfig& config, Arithmetic arithmetic, const MicroBatch& batch, const std::string& frozen = "") {
  SmallDecoder decoder({}, config, arithmetic.dtype(), arithmetic.quantised_block());
  if (!frozen.empty()) decoder.store.find(frozen)->trainable = false;
  decoder.allocate();
  Tape tape;
  run(decoder, batch, tape);
  return outcome(decoder);
}

// The flat buffers whose parameters a block uses; the head of a tied model uses the embedding's.
std::vector<FlatBuffer*> buffers_of(SmallDecoder& decoder, const std::string& block) {
  std::vector<FlatBuffer*> buffers;
  const bool tied = decoder.model.config().share_embeddings_and_output_weights;
  for (FlatBuffer& flat : decoder.store.flat_buffers())
    if (flat.key.block == block || (tied && block == "head" && flat.key.block == "embedding")) buffers.push_back(&flat);
  return buffers;
}

}  // namespace

TEST_CASE("loss and gradients keep their bits whatever is done around the blocks", "[walls]") {
  const std::string family = GENERATE("gpt", "llama", "mistral", "qwen2", "qwen3");
  const Arithmetic arithmetic{.fp8 = GENERATE(false, true)};
  CAPTURE(family, arithmetic.fp8);
  const DecoderConfig config = config_with_dropout(family);
  const MicroBatch batch = small_batch(config, 3, 5);
  const Outcome expected = plain(config, arithmetic, batch);
  REQUIRE(std::isfinite(expected.loss));
  REQUIRE(expected.loss > 0);

  SECTION("weights are released after each block and gathered before it") {
    SmallDecoder decoder({}, config, arithmetic.dtype(), arithmetic.quantised_block());
    decoder.allocate();
    std::map<const FlatBuffer*, std::vector<float>> copies;
    for (FlatBuffer& flat : decoder.store.flat_buffers()) copies[&flat] = read_fp32(decoder.ctx, flat.values);
    const auto release = [&](ExecContext& ctx, const std::string& block) {
      for (FlatBuffer* flat : buffers_of(decoder, block)) {
        const std::vector<float> poison(static_cast<size_t>(flat->numel), NAN);
        write_fp32(ctx, flat->values, poison.data());
      }
    };
    const auto gather = [&](ExecContext& ctx, const std::string& block) {
      for (FlatBuffer* flat : buffers_of(decoder, block)) write_fp32(ctx, flat->values, copies.at(flat).data());
    };
    for (int64_t i = 0; i < decoder.model.num_blocks(); ++i) release(decoder.ctx, decoder.model.block(i).name());
    Tape tape;
    tape.set_block_hooks({.before_forward = gather, .after_forward = release, .before_backward = gather, .after_backward = release});
    run(decoder, batch, tape);
    CHECK(outcome(decoder) == expected);
  }

  SECTION("every saved tensor is packed away and unpacked") {
    SmallDecoder decoder({}, config, arithmetic.dtype(), arithmetic.quantised_block());
    decoder.allocate();
    Tape tape;
    int packed = 0, unpacked = 0;
    tape.set_saved_tensor_hooks({.pack =
                                     [&](ExecContext& ctx, const Tensor& whole) -> std::shared_ptr<void> {
                                       auto bytes = std::make_shared<std::vector<char>>(whole.bytes());
                                       download(ctx, bytes->data(), whole);
                                       ++packed;
                                       return bytes;
                                     },
                                 .unpack =
                                     [&](ExecContext& ctx, const std::shared_ptr<void>& kept) {
                                       const auto& bytes = *static_cast<const std::vector<char>*>(kept.get());
                                       const Tensor whole = ctx.empty({static_cast<int64_t>(bytes.size())}, DType::uint8);
                                       upload(ctx, whole, bytes.data());
                                       ++unpacked;
                                       return whole;
                                     }});
    run(decoder, batch, tape);
    CHECK(outcome(decoder) == expected);
    CHECK(packed > 10 * config.num_layers);
    CHECK(unpacked >= packed);
  }

  SECTION("weight gradients run deferred") {
    SmallDecoder decoder({}, config, arithmetic.dtype(), arithmetic.quantised_block());
    decoder.allocate();
    Tape tape;
    tape.defer_weight_gradients(true);
    run(decoder, batch, tape);
    CHECK_FALSE(decoder.store.find("layers.1.mlp.down.weight")->gradient_written);
    tape.run_deferred(decoder.ctx);
    CHECK(outcome(decoder) == expected);
  }

  SECTION("one weight is frozen") {
    const std::string frozen = GENERATE("layers.1.mlp.down.weight", "layers.0.attention_norm.weight", "embedding.weight");
    const Outcome without = plain(config, arithmetic, batch, frozen);
    Outcome rest = expected;
    rest.gradients.erase(frozen);
    CHECK(without == rest);
  }

  SECTION("the model runs as two stages") {
    SmallDecoder decoder({}, config, arithmetic.dtype(), arithmetic.quantised_block());
    decoder.allocate();
    begin(decoder, batch);
    ExecContext& ctx = decoder.ctx;
    const TokenLayout tokens = place(ctx, batch);
    Tape first, second;
    Bundle sent;
    {
      const Recording recording(ctx, first);
      sent = decoder.model.forward_blocks(ctx, {}, tokens, 0, 2);
    }
    const Bundle received{.residual = sent.residual.with_id(ctx.next_id()), .branch = sent.branch.with_id(ctx.next_id())};
    second.watch(received.residual);
    second.watch(received.branch);
    {
      const Recording recording(ctx, second);
      const Bundle out = decoder.model.forward_blocks(ctx, received, tokens, 2, decoder.model.num_blocks());
      second.backward(ctx, {{out.output, Tensor()}});
    }
    first.backward(ctx, {{sent.residual, second.gradient(received.residual)}, {sent.branch, second.gradient(received.branch)}});
    CHECK(outcome(decoder) == expected);
  }
}

TEST_CASE("the meta device predicts the arena's peak", "[walls]") {
  const std::string family = GENERATE("gpt", "llama", "qwen3");
  const DType dtype = GENERATE(DType::fp32, DType::bf16);
  const Arithmetic arithmetic{.fp8 = dtype == DType::bf16 && GENERATE(false, true)};
  CAPTURE(family, name(dtype), arithmetic.fp8);
  const DecoderConfig config = config_with_dropout(family);
  const MicroBatch batch = small_batch(config, 2, 9);
  const auto peak = [&](Device device) {
    SmallDecoder decoder(device, config, dtype, arithmetic.quantised_block());
    decoder.allocate();
    Tape tape;
    run(decoder, batch, tape);
    return decoder.runtime.arena().stats();
  };
  const ArenaStats real = peak({}), predicted = peak({.type = DeviceType::meta});
  CHECK(real.peak_bytes > 100'000);
  CHECK(predicted.peak_bytes == real.peak_bytes);
  CHECK(predicted.at_peak_by_tag == real.at_peak_by_tag);
  CHECK(predicted.reserved_bytes == real.reserved_bytes);
}

}  // namespace nemo::test
