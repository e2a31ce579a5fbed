#include "models/decoder/accounting.h"

#include <catch2/catch.hpp>

#include "models/registry.h"

using namespace nemo;

namespace {

DecoderConfig preset(const char* name) {
  DecoderConfig config = *find_preset(name);
  config.resolve();
  return config;
}

}  // namespace

// Llama 3 8B at 8192 tokens is the figure by which the two conventions are commonly told apart: 57.9 and 51.5 GFLOP.
TEST_CASE("FLOPs per token in both conventions", "[models]") {
  const FlopsPerToken flops = count_flops(preset("llama3_8b"));
  CHECK(flops.full / 1e9 == Approx(57.9).epsilon(0.001));
  CHECK(flops.causal / 1e9 == Approx(51.5).epsilon(0.001));
}

TEST_CASE("FLOPs equal the sum over layers of L h^2 (12 + 12 kv/heads + 18 ffn/h + 12 S/h + 6 V/(L h))", "[models]") {
  for (const char* name : {"llama2_7b", "llama3_8b", "qwen2_5_0_5b"}) {
    const DecoderConfig c = preset(name);
    const double L = static_cast<double>(c.num_layers), h = static_cast<double>(c.hidden_size),
                 S = static_cast<double>(c.seq_length);
    const double kv = static_cast<double>(c.num_query_groups) / static_cast<double>(c.num_attention_heads);
    const double ffn = static_cast<double>(c.ffn_hidden_size), V = static_cast<double>(c.vocab_size);
    CHECK(count_flops(c).full ==
          Approx(L * h * h * (12 + 12 * kv + 18 * ffn / h + 12 * S / h + 6 * V / (L * h))).epsilon(1e-12));
  }
}

TEST_CASE("a window counts the keys that can be seen", "[models]") {
  DecoderConfig config = preset("mistral_7b");
  const FlopsPerToken windowed = count_flops(config);
  config.window_size = 0;
  const FlopsPerToken open = count_flops(config);
  CHECK(windowed.full == open.full);
  CHECK(windowed.causal < open.causal);
  config.window_size = config.seq_length;
  CHECK(count_flops(config).causal == open.causal);

  // 8192 queries, window 4096: the first 4096 see half a window on average, the others a whole one.
  const double pair = 12.0 * 32 * 4096;
  CHECK(open.causal - windowed.causal == Approx(pair * (4096 - (0.5 * 2048 + 0.5 * 4096))));
}

TEST_CASE("biases, norms and untied matrices are counted", "[models]") {
  DecoderConfig config;  // 12 layers of 768, biases, tied
  config.vocab_size = 100;
  config.resolve();
  const int64_t before = count_parameters(config);
  config.share_embeddings_and_output_weights = false;
  CHECK(count_parameters(config) - before == 100 * 768);
  config.share_embeddings_and_output_weights = true;
  config.add_bias_linear = false;
  CHECK(before - count_parameters(config) == 12 * (3 * 768 + 768 + 4 * 768 + 768));
  config.qk_norm = true;
  CHECK(before - count_parameters(config) == 12 * (9 * 768 - 2 * 64));
}
