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
