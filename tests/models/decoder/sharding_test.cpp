#include "models/decoder/sharding.h"

#include <catch2/catch.hpp>

#include "core/nn/seams.h"
#include "core/sharding/slice.h"
#include "tests/models/decoder/small_decoder.h"

using namespace nemo;
using namespace nemo::test;

TEST_CASE("every parameter and linear layer of every family has one rule", "[models][sharding]") {
  for (const char* family : {"gpt", "llama", "mistral", "qwen2", "qwen3"}) {
    CAPTURE(family);
    for (const bool tied : {false, true}) {
      DecoderConfig config = small_config(family);
      config.share_embeddings_and_output_weights = tied;
      ParameterStore store;
      DecoderModel model(store, config, 64);
      const std::vector<ShardRule> rules = decoder_sharding(config);
      for (Parameter* parameter : store.parameters())
        CHECK_NOTHROW(cut(*parameter, rule_for(rules, parameter->name), 1, 2, true));
      const Seams seams = model.seams();
      CHECK(seams.linears.size() == static_cast<size_t>(4 * config.num_layers));
      for (const Seams::NamedLinear& linear : seams.linears) CHECK_NOTHROW(rule_for(decoder_modules(), linear.name));
      CHECK(seams.attention.size() == static_cast<size_t>(config.num_layers));
      CHECK((seams.embedding != nullptr && seams.vocabulary_cut != nullptr));
    }
  }
}
