#include "models/registry.h"

#include <catch2/catch.hpp>
#include <set>

#include "core/config/places.h"
#include "models/decoder/accounting.h"

using namespace nemo;

// The sums of the tensors in the published checkpoints.
TEST_CASE("each preset has its published number of parameters", "[models]") {
  const std::pair<const char*, int64_t> published[] = {
      {"gpt2_124m", 124439808},    {"gpt2_355m", 354823168},      {"gpt2_774m", 774030080},
      {"gpt2_1558m", 1557611200},  {"llama2_7b", 6738415616},     {"llama2_13b", 13015864320},
      {"llama2_70b", 68976648192}, {"llama3_8b", 8030261248},     {"llama3_70b", 70553706496},
      {"llama3_1_8b", 8030261248}, {"llama3_1_70b", 70553706496}, {"llama3_1_405b", 405853388800},
      {"llama3_2_1b", 1235814400}, {"llama3_2_3b", 3212749824},   {"mistral_7b", 7241732096},
      {"qwen2_5_0_5b", 494032768}, {"qwen2_5_1_5b", 1543714304},  {"qwen2_5_3b", 3085938688},
      {"qwen2_5_7b", 7615616512},  {"qwen2_5_14b", 14770033664},  {"qwen3_0_6b", 596049920},
      {"qwen3_1_7b", 1720574976},  {"qwen3_4b", 4022468096},      {"qwen3_8b", 8190735360},
  };
  for (const auto& [name, parameters] : published) {
    CAPTURE(name);
    auto config = find_preset(name);
    REQUIRE(config);
    config->resolve();
    CHECK(count_parameters(*config) == parameters);
  }
}

TEST_CASE("every preset is whole, agrees with itself and is listed once", "[models]") {
  std::set<std::string_view> names;
  for (Preset& preset : list_presets()) {
    CAPTURE(preset.name);
    CHECK(names.insert(preset.name).second);
    CHECK(preset.config.preset == preset.name);
    CHECK_FALSE(preset.source.empty());
    preset.config.resolve();
    CHECK_NOTHROW(preset.config.check(FieldPlaces("preset")));
    CHECK(preset.config.vocab_size > 0);
    CHECK(family_defaults(preset.config.family).has_value());
  }
  CHECK(names.size() == 26);
}

TEST_CASE("what presets of a family share", "[models]") {
  CHECK(find_preset("llama3_2_1b")->rope_scaling == RopeScaling{RopeScalingType::llama3, 32, 1, 4, 8192});
  CHECK(find_preset("llama3_1_8b")->rope_scaling.factor == 8);
  CHECK(find_preset("llama3_8b")->rope_scaling.type == RopeScalingType::none);
  CHECK(find_preset("mistral_7b")->window_size == 4096);
  CHECK(find_preset("qwen2_5_7b")->qkv_bias());
  CHECK_FALSE(find_preset("qwen2_5_7b")->add_bias_linear);
  CHECK(find_preset("qwen3_0_6b")->qk_norm);
  CHECK(find_preset("qwen3_0_6b")->head_dim == 128);
  CHECK(find_preset("gpt2_124m")->activation == MlpActivation::gelu_tanh);
  CHECK_FALSE(find_preset("gpt2_125m"));
  CHECK_FALSE(family_defaults("t5"));
}
