// The promises that later rooms are built on (gathered weights, packed activations, deferred weight gradients, frozen
// weights, stages, the meta device), each proved on one rank: loss and gradients must be the same bits.
#include <catch2/catch.hpp>
#include <cmath>

#include "tests/models/decoder/small_decoder.h"

namespace nemo::test {
namespace {

void run(SmallDecoder& decoder, const MicroBatch& batch, Tape& tape) {
  begin(decoder, batch.num_loss_tokens);
  forward_backward(decoder, batch, tape);
}

Outcome plain(const DecoderConfig& config, Arithmetic arithmetic, const MicroBatch& batch, const std::string& frozen = "") {
  SmallDecoder decoder({}, config, arithmetic.dtype(), arithmetic.quantised_block());
  if (!frozen.empty()) decoder.store.find(frozen)->trainable = false;
  decoder.allocate();
  Tape tape;
  run(decoder, batch, tape);
  return outcome(decoder);
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
    ReleasedWeights weights(decoder);
    Tape tape;
    tape.set_block_hooks(weights.hooks());
    run(decoder, batch, tape);
    CHECK(outcome(decoder) == expected);
  }

  SECTION("every saved tensor is packed away and unpacked") {
    SmallDecoder decoder({}, config, arithmetic.dtype(), arithmetic.quantised_block());
    decoder.allocate();
    Tape tape;
    PackedAway away;
    tape.set_saved_tensor_hooks(away.hooks());
    run(decoder, batch, tape);
    CHECK(outcome(decoder) == expected);
    CHECK(away.packed > 10 * config.num_layers);
    CHECK(away.unpacked >= away.packed);
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
    begin(decoder, batch.num_loss_tokens);
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
