#include "models/decoder/sharding.h"

namespace nemo {

std::vector<ShardRule> decoder_sharding(const DecoderConfig& config) {
  const CutUnit query_heads = heads(config.num_attention_heads), key_heads = heads(config.num_query_groups);
  const auto cut = [](std::string_view parameter, int dim, CutUnit unit = element()) {
    return ShardRule{.parameter = parameter, .value = Shard{dim}, .unit = unit};
  };
  const auto shared_heads = [](std::string_view parameter,
                               CutUnit unit) {  // ranks that share a head each see their own queries
    return ShardRule{.parameter = parameter, .value = Shard{0}, .unit = unit, .gradient = GradientPart::own_heads};
  };
  const auto on_the_stream = [](std::string_view parameter) {
    return ShardRule{.parameter = parameter, .gradient = GradientPart::own_stream_rows};
  };
  return {
      cut("embedding.weight", 0, vocabulary()),
      on_the_stream("position_embedding.weight"),
      on_the_stream("layers.*.attention_norm.weight"),
      on_the_stream("layers.*.attention_norm.bias"),
      cut("layers.*.attention.wq.weight", 0, query_heads),
      cut("layers.*.attention.wq.bias", 0, query_heads),
      shared_heads("layers.*.attention.wk.weight", key_heads),
      shared_heads("layers.*.attention.wk.bias", key_heads),
      shared_heads("layers.*.attention.wv.weight", key_heads),
      shared_heads("layers.*.attention.wv.bias", key_heads),
      {.parameter = "layers.*.attention.q_norm.weight", .gradient = GradientPart::own_heads},
      {.parameter = "layers.*.attention.k_norm.weight", .gradient = GradientPart::own_heads},
      cut("layers.*.attention.wo.weight", 1, query_heads),
      {.parameter = "layers.*.attention.wo.bias"},  // every rank sees the whole sum's gradient
      on_the_stream("layers.*.mlp_norm.weight"),
      on_the_stream("layers.*.mlp_norm.bias"),
      cut("layers.*.mlp.gate.weight", 0),
      cut("layers.*.mlp.gate.bias", 0),
      cut("layers.*.mlp.up.weight", 0),
      cut("layers.*.mlp.up.bias", 0),
      cut("layers.*.mlp.down.weight", 1),
      {.parameter = "layers.*.mlp.down.bias"},
      on_the_stream("final_norm.weight"),
      on_the_stream("final_norm.bias"),
      cut("output.weight", 0, vocabulary()),
  };
}

std::span<const ModuleRule> decoder_modules() {
  static constexpr ModuleRule kRules[] = {
      {.module = "layers.*.attention.qkv", .input = Replicate{}, .output = Shard{1}},
      {.module = "layers.*.attention.wo", .input = Shard{1}, .output = Partial{}},
      {.module = "layers.*.mlp.up", .input = Replicate{}, .output = Shard{1}},
      {.module = "layers.*.mlp.down", .input = Shard{1}, .output = Partial{}},
  };
  return kRules;
}

}  // namespace nemo
