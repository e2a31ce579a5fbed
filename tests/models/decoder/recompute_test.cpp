// Recompute trades memory for time and nothing else: the same bits for every setting, with less kept.
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <optional>

#include "tests/models/decoder/small_decoder.h"

namespace nemo::test {
namespace {

struct Setting {
  const char* name;
  std::function<void(DecoderConfig&)> apply;
};

Setting full(const char* name, RecomputeMethod method, int64_t num_layers) {
  return {name, [=](DecoderConfig& config) {
            config.recompute_granularity = RecomputeGranularity::full;
            config.recompute_method = method;
            config.recompute_num_layers = num_layers;
          }};
}

Setting selective(const char* name, const std::vector<std::string>& modules) {
  return {name, [=](DecoderConfig& config) {
            config.recompute_granularity = RecomputeGranularity::selective;
            config.recompute_modules = modules;
          }};
}

const Setting kNone{"none", [](DecoderConfig&) {}};
const Setting kSettings[] = {
    full("each layer", RecomputeMethod::uniform, 1),
    full("groups of 2", RecomputeMethod::uniform, 2),
    full("all layers as one", RecomputeMethod::uniform, 3),
    full("the first 2 layers", RecomputeMethod::block, 2),
    selective("core_attn", {"core_attn"}),
    selective("layernorm", {"layernorm"}),
    selective("mlp_act", {"mlp_act"}),
    selective("mlp", {"mlp"}),
    selective("all", {"core_attn", "layernorm", "mlp", "mlp_act"}),
};

DecoderConfig configured(DecoderConfig config, const Setting& setting) {
  setting.apply(config);
  config.resolve();
  return config;
}

std::vector<MicroBatch> two_batches(const DecoderConfig& config) {
  return {small_batch(config, 2, 5), small_batch(config, 3, 11)};
}

int64_t loss_tokens(const std::vector<MicroBatch>& batches) {
  int64_t count = 0;
  for (const MicroBatch& batch : batches) count += batch.num_loss_tokens;
  return count;
}

// Gradients accumulated over two micro-batches; prepare is handed each tape.
Outcome run(SmallDecoder& decoder, const std::function<void(Tape&)>& prepare) {
  const std::vector<MicroBatch> batches = two_batches(decoder.model.config());
  begin(decoder, loss_tokens(batches));
  for (const MicroBatch& batch : batches) {
    Tape tape;
    prepare(tape);
    forward_backward(decoder, batch, tape);
    tape.run_deferred(decoder.ctx);
  }
  return outcome(decoder);
}

Outcome run(Device device, const DecoderConfig& config, DType dtype, const std::string& frozen = "") {
  SmallDecoder decoder(device, config, dtype);
  if (!frozen.empty()) decoder.store.find(frozen)->trainable = false;
  decoder.allocate();
  return run(decoder, [](Tape&) {});
}

ArenaStats memory(Device device, const DecoderConfig& config, DType dtype) {
  SmallDecoder decoder(device, config, dtype);
  decoder.allocate();
  const std::vector<MicroBatch> batches = two_batches(config);
  begin(decoder, loss_tokens(batches));
  for (const MicroBatch& batch : batches) {
    Tape tape;
    forward_backward(decoder, batch, tape);
  }
  return decoder.runtime.arena().stats();
}

// Weights that are there only around their block, saved tensors packed away, weight gradients deferred: each alone,
// then all of it.
void check_bits(Device device, const std::string& family, DType dtype) {
  const DecoderConfig plain = config_with_dropout(family);
  const Outcome expected = run(device, plain, dtype);
  REQUIRE(std::isfinite(expected.loss));
  REQUIRE(expected.loss > 0);
  for (const Setting& setting : kSettings) {
    CAPTURE(family, name(dtype), setting.name);
    const DecoderConfig config = configured(plain, setting);
    CHECK(run(device, config, dtype) == expected);
    for (const std::string around : {"released", "packed", "deferred", "released packed deferred"}) {
      CAPTURE(around);
      SmallDecoder decoder(device, config, dtype);
      decoder.allocate();
      std::optional<ReleasedWeights> weights;
      PackedAway away;
      const bool packs = around.find("packed") != std::string::npos;
      if (around.find("released") != std::string::npos) weights.emplace(decoder);
      CHECK(run(decoder, [&](Tape& tape) {
              if (weights) tape.set_block_hooks(weights->hooks());
              if (packs) tape.set_saved_tensor_hooks(away.hooks());
              tape.defer_weight_gradients(around.find("deferred") != std::string::npos);
            }) == expected);
      CHECK((away.packed > 0) == packs);
    }
    for (const char* frozen : {"layers.1.mlp.down.weight", "layers.0.attention_norm.weight", "embedding.weight"}) {
      Outcome rest = expected;
      rest.gradients.erase(frozen);
      CHECK(run(device, config, dtype, frozen) == rest);
    }
  }
}

}  // namespace

TEST_CASE("recompute changes no bit of loss and gradients", "[recompute]") {
  const std::string family = GENERATE("gpt", "llama", "mistral", "qwen2", "qwen3");
  const DType dtype = GENERATE(DType::fp32, DType::bf16);
  check_bits({}, family, dtype);
}

TEST_CASE("recompute changes no bit of loss and gradients on CUDA", "[.][cuda]") {
  check_bits({.type = DeviceType::cuda}, "gpt", DType::bf16);
  check_bits({.type = DeviceType::cuda}, "qwen3", DType::bf16);
}

TEST_CASE("recompute keeps the bits of fp8 products", "[recompute][fp8]") {
  const DecoderConfig plain = config_with_dropout(GENERATE("gpt", "llama"));
  const Arithmetic arithmetic{.fp8 = true};
  const auto run_in_fp8 = [&](const DecoderConfig& config, bool defer) {
    SmallDecoder decoder({}, config, arithmetic.dtype(), arithmetic.quantised_block());
    decoder.allocate();
    return run(decoder, [&](Tape& tape) { tape.defer_weight_gradients(defer); });
  };
  const Outcome expected = run_in_fp8(plain, false);
  REQUIRE(std::isfinite(expected.loss));
  CHECK(expected != run(Device{}, plain, DType::bf16));
  for (const Setting& setting : kSettings)
    for (const bool defer : {false, true}) {
      CAPTURE(plain.family, setting.name, defer);
      CHECK(run_in_fp8(configured(plain, setting), defer) == expected);
    }
}

TEST_CASE("recompute keeps its bits between two stages", "[recompute]") {
  const std::string family = GENERATE("gpt", "qwen3");
  const DecoderConfig plain = config_with_dropout(family);
  const MicroBatch batch = small_batch(plain, 3, 5);
  const auto in_stages = [&](const DecoderConfig& config) {
    SmallDecoder decoder({}, config);
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
    const Bundle received{.residual = sent.residual.with_id(ctx.next_id()),
                          .branch = sent.branch.with_id(ctx.next_id())};
    second.watch(received.residual);
    second.watch(received.branch);
    {
      const Recording recording(ctx, second);
      second.backward(
          ctx, {{decoder.model.forward_blocks(ctx, received, tokens, 2, decoder.model.num_blocks()).output, Tensor()}});
    }
    first.backward(
        ctx, {{sent.residual, second.gradient(received.residual)}, {sent.branch, second.gradient(received.branch)}});
    return outcome(decoder);
  };
  const Outcome expected = in_stages(plain);
  for (const Setting& setting : kSettings) {
    CAPTURE(family, setting.name);
    CHECK(in_stages(configured(plain, setting)) == expected);
  }
}

TEST_CASE("a recomputed region calls the hooks of its blocks again, and holds the one it turns round in",
          "[recompute]") {
  const DecoderConfig config = configured(small_config("llama"), kSettings[1]);
  SmallDecoder decoder({}, config);
  decoder.allocate();
  std::vector<std::string> calls;
  const auto note = [&](const char* what) {
    return [&calls, what](ExecContext&, const std::string& block) { calls.push_back(what + block); };
  };
  run(decoder, [&](Tape& tape) {
    calls.clear();  // the second micro-batch's are looked at
    tape.set_block_hooks({.before_forward = note("+"),
                          .after_forward = note("-"),
                          .before_backward = note("<"),
                          .after_backward = note(">")});
  });
  CHECK(calls == std::vector<std::string>{"+embedding", "-embedding", "+layers.0", "-layers.0", "+layers.1",
                                          "-layers.1",  "+layers.2",  "-layers.2", "+head",     "-head",
                                          "<head",      ">head",      "<layers.2", ">layers.2", "+layers.0",
                                          "-layers.0",  "<layers.1",  ">layers.1", "<layers.0", ">layers.0",
                                          "<embedding", ">embedding"});
}

TEST_CASE("recompute lowers the peak, and the meta device foretells it", "[recompute]") {
  const std::string family = GENERATE("gpt", "llama", "qwen3");
  const DType dtype = GENERATE(DType::fp32, DType::bf16);
  CAPTURE(family, name(dtype));
  DecoderConfig plain = config_with_dropout(family);
  plain.num_layers = 6;
  std::map<std::string, size_t> peaks;
  const auto measure = [&](const Setting& setting) {
    CAPTURE(setting.name);
    const DecoderConfig config = configured(plain, setting);
    const ArenaStats real = memory({}, config, dtype), predicted = memory({.type = DeviceType::meta}, config, dtype);
    CHECK(predicted.peak_bytes == real.peak_bytes);
    CHECK(predicted.at_peak_by_tag == real.at_peak_by_tag);
    CHECK(predicted.reserved_bytes == real.reserved_bytes);
    peaks[setting.name] = real.peak_bytes;
  };
  measure(kNone);
  for (const Setting& setting : kSettings) measure(setting);
  CHECK(peaks["each layer"] < peaks["all"]);
  CHECK(peaks["all"] < peaks["mlp"]);
  CHECK(peaks["mlp"] < peaks["mlp_act"]);
  for (const char* module : {"core_attn", "layernorm", "mlp_act"}) CHECK(peaks[module] < peaks["none"]);
  CHECK(peaks["the first 2 layers"] < peaks["none"]);
}

TEST_CASE("a layer keeps no more than its setting says", "[recompute]") {
  // Bytes a token, found as what one layer more adds to the peak. Sizes are such that leases are not rounded up.
  const auto bytes_of_a_layer = [](const std::string& family, const Setting& setting) {
    const auto activations = [&](int64_t layers) {
      DecoderConfig config = small_config(family);
      config.num_layers = layers, config.hidden_size = 128, config.head_dim = 32, config.ffn_hidden_size = 384,
      config.seq_length = config.max_position_embeddings = 128;
      config.hidden_dropout = 0.1;
      setting.apply(config);
      config.resolve();
      SmallDecoder decoder({.type = DeviceType::meta}, config, DType::bf16);
      decoder.allocate();
      const MicroBatch batch = small_batch(config, 2, 1);
      begin(decoder, batch.num_loss_tokens);
      Tape tape;
      forward_backward(decoder, batch, tape);
      return decoder.runtime.arena().stats().at_peak_by_tag[static_cast<size_t>(MemoryTag::activations)];
    };
    return static_cast<double>(activations(9) - activations(8)) / 256;
  };
  constexpr double kHidden = 128 * 2, kFfn = 384 * 2, kRstd = 4, kLse = 4 * 4;
  const double gpt_qkv = 3 * kHidden, llama_qkv = 2 * kHidden;
  const double gpt = 4 * kHidden + 4 * kRstd + gpt_qkv + kHidden + kLse +
                     2 * kFfn;  // residuals, norms; mean, rstd; attention's result; up, activated
  const double llama = 4 * kHidden + 2 * kRstd + llama_qkv + kHidden + kLse + 3 * kFfn;  // gate | up, activated
  CHECK(bytes_of_a_layer("gpt", kNone) == gpt);
  CHECK(bytes_of_a_layer("llama", kNone) == llama);
  CHECK(bytes_of_a_layer("gpt", selective("", {"layernorm"})) == gpt - 2 * kHidden);
  CHECK(bytes_of_a_layer("llama", selective("", {"layernorm"})) == llama - 2 * kHidden);
  CHECK(bytes_of_a_layer("gpt", selective("", {"core_attn"})) == gpt - kHidden - kLse);
  CHECK(bytes_of_a_layer("llama", selective("", {"core_attn"})) == llama - kHidden - kLse);
  CHECK(bytes_of_a_layer("gpt", selective("", {"mlp_act"})) == gpt - kFfn);
  CHECK(bytes_of_a_layer("llama", selective("", {"mlp_act"})) == llama - kFfn);
  CHECK(bytes_of_a_layer("gpt", selective("", {"mlp"})) == gpt - 2 * kFfn);
  CHECK(bytes_of_a_layer("llama", selective("", {"mlp"})) == llama - 3 * kFfn);
  for (const char* family : {"gpt", "llama"})
    CHECK(bytes_of_a_layer(family, full("", RecomputeMethod::uniform, 1)) == kHidden);
}

}  // namespace nemo::test
