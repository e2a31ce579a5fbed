#include "models/decoder/config.h"

#include <catch2/catch.hpp>

#include "core/config/places.h"
#include "core/error.h"

using namespace nemo;

namespace {

void check(DecoderConfig config) {
  config.resolve();
  config.check(FieldPlaces("config.json"));
}

}  // namespace

TEST_CASE("resolve fills what the other fields say", "[models]") {
  DecoderConfig config;
  config.hidden_size = 1024, config.num_attention_heads = 16, config.seq_length = 256;
  config.resolve();
  CHECK(config.ffn_hidden_size == 4096);
  CHECK(config.num_query_groups == 16);
  CHECK(config.head_dim == 64);
  CHECK(config.max_position_embeddings == 256);
  CHECK(config.vocab_size == 0);

  DecoderConfig gated;
  gated.hidden_size = 1000, gated.num_attention_heads = 10, gated.activation = MlpActivation::swiglu;
  gated.resolve();
  CHECK(gated.ffn_hidden_size == 2624);  // 1000 * 8 / 3 = 2666, down to a multiple of 64

  DecoderConfig given;
  given.ffn_hidden_size = 7, given.num_query_groups = 3, given.head_dim = 10, given.max_position_embeddings = 4096;
  const DecoderConfig before = given;
  given.resolve();
  CHECK(given == before);
}

TEST_CASE("shapes that cannot be", "[models]") {
  DecoderConfig config;
  CHECK_NOTHROW(check(config));

  config = {}, config.num_query_groups = 5;
  CHECK_THROWS_WITH(check(config),
                    "config.json: num_query_groups: 5 does not divide num_attention_heads (12); try: use 4 or 6");
  config = {}, config.num_query_groups = 24;
  CHECK_THROWS_WITH(check(config),
                    "config.json: num_query_groups: 24 does not divide num_attention_heads (12); try: use 12");
  config = {}, config.num_attention_heads = 11;
  CHECK_THROWS_WITH(
      check(config),
      "config.json: num_attention_heads: 11 does not divide hidden_size (768); try: use 8 or 12, or give head_dim");
  config = {}, config.num_attention_heads = 11, config.head_dim = 64;
  CHECK_NOTHROW(check(config));
  config = {}, config.max_position_embeddings = 512;
  CHECK_THROWS_WITH(check(config),
                    "config.json: seq_length: 1024 is beyond the model's max_position_embeddings (512); try: use "
                    "seq_length=512 or less");
  config = {}, config.head_dim = 63, config.position_embedding_type = PositionEmbedding::rope;
  CHECK_THROWS_WITH(check(config),
                    "config.json: head_dim: 63 is odd, and rope turns pairs; try: use an even head_dim or "
                    "position_embedding_type=learned");
  config = {}, config.rope_scaling.type = RopeScalingType::linear;
  CHECK_THROWS_WITH(check(config),
                    "config.json: rope_scaling.type: has no effect with learned positions; try: use "
                    "rope_scaling.type=none or position_embedding_type=rope");
  config = {}, config.position_embedding_type = PositionEmbedding::rope;
  config.rope_scaling = {RopeScalingType::llama3, 8, 4, 4, 8192};
  CHECK_THROWS_WITH(
      check(config),
      "config.json: rope_scaling.high_freq_factor: must be above low_freq_factor; try: use 4 with low_freq_factor 1");
}

TEST_CASE("recompute settings are completed", "[models][recompute]") {
  DecoderConfig config;
  config.resolve();
  CHECK(config.recompute_modules.empty());
  CHECK(config.recompute_method == RecomputeMethod::none);

  config.recompute_granularity = RecomputeGranularity::selective;
  config.resolve();
  CHECK(config.recompute_modules == std::vector<std::string>{"core_attn"});
  CHECK(config.recomputes("core_attn"));
  CHECK_FALSE(config.recomputes("mlp"));
  CHECK(config.recomputed_layers(0) == 0);

  config = {}, config.recompute_granularity = RecomputeGranularity::full;
  config.resolve();
  CHECK(config.recompute_method == RecomputeMethod::uniform);
  CHECK(config.recompute_num_layers == 1);
  config.recompute_num_layers = 5;  // of 12: 5, 5, 2
  CHECK(config.recomputed_layers(0) == 5);
  CHECK(config.recomputed_layers(10) == 2);
  CHECK(config.recomputed_layers(12) == 0);
  CHECK(config.recomputed_layers(-1) == 0);
  config.recompute_method = RecomputeMethod::block;
  CHECK(config.recomputed_layers(4) == 1);
  CHECK(config.recomputed_layers(5) == 0);
  CHECK_FALSE(config.recomputes("core_attn"));
}

TEST_CASE("recompute settings that contradict each other", "[models][recompute]") {
  const auto full = [](RecomputeMethod method, int64_t num_layers) {
    DecoderConfig config;
    config.recompute_granularity = RecomputeGranularity::full, config.recompute_method = method,
    config.recompute_num_layers = num_layers;
    return config;
  };
  const auto selective = [](const std::string& module) {
    DecoderConfig config;
    config.recompute_granularity = RecomputeGranularity::selective, config.recompute_modules = {"layernorm", module};
    return config;
  };
  CHECK_NOTHROW(check(full(RecomputeMethod::none, 0)));
  CHECK_NOTHROW(check(full(RecomputeMethod::uniform, 5)));
  CHECK_NOTHROW(check(full(RecomputeMethod::block, 12)));
  CHECK_NOTHROW(check(selective("mlp_act")));

  CHECK_THROWS_WITH(check(full(RecomputeMethod::none, 4)),
                    "config.json: recompute_num_layers: 4 needs a recompute_method to say of what; try: "
                    "recompute_method=uniform for groups of 4, block for the first 4 layers");
  CHECK_THROWS_WITH(check(full(RecomputeMethod::block, 0)),
                    "config.json: recompute_num_layers: is not given, and recompute_method block recomputes that many "
                    "layers; try: 1 to 12, or recompute_method=uniform");
  CHECK_THROWS_WITH(check(full(RecomputeMethod::uniform, 13)),
                    "config.json: recompute_num_layers: 13 is above num_layers (12); try: 12 or less");
  CHECK_THROWS_WITH(check(selective("core_atn")),
                    "config.json: recompute_modules: no module is called 'core_atn'; try: core_attn");
  CHECK_THROWS_WITH(
      check(selective("optimizer")),
      "config.json: recompute_modules: no module is called 'optimizer'; try: core_attn, layernorm, mlp or mlp_act");
  CHECK_THROWS_WITH(
      check(selective("moe_act")),
      "config.json: recompute_modules: no model has the part 'moe_act' yet in this version; try: mlp_act");
  CHECK_THROWS_WITH(check(selective("mla_up_proj")),
                    "config.json: recompute_modules: no model has the part 'mla_up_proj' yet in this version; try: "
                    "core_attn, layernorm, mlp or mlp_act");

  DecoderConfig config;
  config.recompute_method = RecomputeMethod::block;
  CHECK_THROWS_WITH(check(config),
                    "config.json: recompute_method: needs recompute_granularity full, which is none; try: "
                    "recompute_granularity=full, or leave this key out");
  config = selective("mlp"), config.recompute_num_layers = 2;
  CHECK_THROWS_WITH(check(config),
                    "config.json: recompute_num_layers: needs recompute_granularity full, which is selective; try: "
                    "recompute_granularity=full, or leave this key out");
  config = full(RecomputeMethod::uniform, 1), config.recompute_modules = {"mlp"};
  CHECK_THROWS_WITH(check(config),
                    "config.json: recompute_modules: needs recompute_granularity selective, which is full; try: "
                    "recompute_granularity=selective, or leave this key out");
}

TEST_CASE("the key that was written is the one blamed", "[models]") {
  DecoderConfig config;
  config.hidden_size = 100;
  config.resolve();
  FieldPlaces places("r.yaml");
  places.set("hidden_size", {.kind = Origin::Kind::recipe, .file = "r.yaml", .line = 3});
  CHECK_THROWS_WITH(
      config.check(places),
      "r.yaml:3: hidden_size: 100 is not a multiple of num_attention_heads (12); try: use 108, or give head_dim");
}
