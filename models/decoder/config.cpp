#include "models/decoder/config.h"

#include <algorithm>

#include "core/config/nearest.h"
#include "core/config/places.h"
#include "core/error.h"

namespace nemo {

std::span<const std::string_view> enum_names(Normalization) {
  static constexpr std::string_view kNames[] = {"layer_norm", "rms_norm"};
  return kNames;
}

std::span<const std::string_view> enum_names(MlpActivation) {
  static constexpr std::string_view kNames[] = {"gelu_tanh", "gelu", "swiglu", "silu", "relu"};
  return kNames;
}

std::span<const std::string_view> enum_names(PositionEmbedding) {
  static constexpr std::string_view kNames[] = {"learned", "rope"};
  return kNames;
}

std::span<const std::string_view> enum_names(RopeScalingType) {
  static constexpr std::string_view kNames[] = {"none", "linear", "llama3"};
  return kNames;
}

std::span<const std::string_view> enum_names(AttentionBackend) {
  static constexpr std::string_view kNames[] = {"auto", "cudnn", "own"};
  return kNames;
}

std::span<const std::string_view> enum_names(RecomputeGranularity) {
  static constexpr std::string_view kNames[] = {"none", "selective", "full"};
  return kNames;
}

std::span<const std::string_view> enum_names(RecomputeMethod) {
  static constexpr std::string_view kNames[] = {"none", "uniform", "block"};
  return kNames;
}

void DecoderConfig::resolve() {
  if (ffn_hidden_size == 0) ffn_hidden_size = gated() ? hidden_size * 8 / 3 / 64 * 64 : 4 * hidden_size;
  if (num_query_groups == 0) num_query_groups = num_attention_heads;
  if (head_dim == 0 && hidden_size % num_attention_heads == 0) head_dim = hidden_size / num_attention_heads;
  if (max_position_embeddings == 0) max_position_embeddings = seq_length;
  if (recompute_granularity == RecomputeGranularity::selective && recompute_modules.empty())
    recompute_modules = {"core_attn"};
  if (recompute_granularity == RecomputeGranularity::full && recompute_num_layers == 0) {
    if (recompute_method == RecomputeMethod::none) recompute_method = RecomputeMethod::uniform;
    if (recompute_method == RecomputeMethod::uniform) recompute_num_layers = 1;
  }
}

bool DecoderConfig::recomputes(std::string_view module) const {
  return recompute_granularity == RecomputeGranularity::selective &&
         std::ranges::find(recompute_modules, module) != recompute_modules.end();
}

int64_t DecoderConfig::recomputed_layers(int64_t layer) const {
  if (recompute_granularity != RecomputeGranularity::full || layer < 0 || layer >= num_layers) return 0;
  if (recompute_method == RecomputeMethod::block) return layer < recompute_num_layers ? 1 : 0;
  return std::min(recompute_num_layers, num_layers - layer);
}

namespace {

// "use 4 or 8": the divisors of number on either side of wanted.
std::string suggest_divisors(int64_t number, int64_t wanted) {
  int64_t below = std::min(wanted, number), above = wanted + 1;
  while (number % below != 0) --below;
  while (above < number && number % above != 0) ++above;
  return "use " + std::to_string(below) + (above <= number ? " or " + std::to_string(above) : "");
}

const std::vector<std::string> kRecomputeModules = {"core_attn", "layernorm", "mlp", "mlp_act"};
// Known elsewhere, for parts that no model here has yet.
constexpr std::string_view kAbsentModules[] = {"mla_up_proj", "moe", "moe_act", "shared_experts"};

template <class Fail>
void check_recompute_module(const std::string& module, const Fail& fail) {
  if (std::ranges::find(kRecomputeModules, module) != kRecomputeModules.end()) return;
  if (std::ranges::find(kAbsentModules, module) != std::end(kAbsentModules))
    fail("recompute_modules", "no model has the part '" + module + "' yet in this version",
         module == "moe_act" ? "mlp_act" : "core_attn, layernorm, mlp or mlp_act");
  const auto near = find_nearest(module, kRecomputeModules);
  fail("recompute_modules", "no module is called '" + module + "'",
       near ? *near : "core_attn, layernorm, mlp or mlp_act");
}

}  // namespace

void DecoderConfig::check(const FieldPlaces& places) const {
  const auto fail = [&](std::string_view key, const std::string& reason, const std::string& suggestion) {
    throw RecipeError{places.where(key), places.subject(key), reason, suggestion};
  };
  const auto number = [](int64_t value) { return std::to_string(value); };

  if (head_dim == 0 && places.is_written("hidden_size"))  // resolve() found no whole number
    fail("hidden_size",
         number(hidden_size) + " is not a multiple of num_attention_heads (" + number(num_attention_heads) + ")",
         "use " + number((hidden_size / num_attention_heads + 1) * num_attention_heads) + ", or give head_dim");
  if (head_dim == 0)
    fail("num_attention_heads",
         number(num_attention_heads) + " does not divide hidden_size (" + number(hidden_size) + ")",
         suggest_divisors(hidden_size, num_attention_heads) + ", or give head_dim");
  if (num_attention_heads % num_query_groups != 0)
    fail("num_query_groups",
         number(num_query_groups) + " does not divide num_attention_heads (" + number(num_attention_heads) + ")",
         suggest_divisors(num_attention_heads, num_query_groups));
  if (head_dim % 2 != 0 && position_embedding_type == PositionEmbedding::rope)
    fail("head_dim", number(head_dim) + " is odd, and rope turns pairs",
         "use an even head_dim or position_embedding_type=learned");
  if (seq_length > max_position_embeddings)
    fail(
        "seq_length",
        number(seq_length) + " is beyond the model's max_position_embeddings (" + number(max_position_embeddings) + ")",
        "use seq_length=" + number(max_position_embeddings) + " or less");
  if (rope_scaling.type != RopeScalingType::none && position_embedding_type != PositionEmbedding::rope)
    fail("rope_scaling.type", "has no effect with learned positions",
         "use rope_scaling.type=none or position_embedding_type=rope");
  if (rope_scaling.type == RopeScalingType::llama3 && rope_scaling.high_freq_factor <= rope_scaling.low_freq_factor)
    fail("rope_scaling.high_freq_factor", "must be above low_freq_factor", "use 4 with low_freq_factor 1");

  const std::string granularity(enum_names(recompute_granularity)[static_cast<size_t>(recompute_granularity)]);
  if (recompute_granularity != RecomputeGranularity::full) {
    if (recompute_method != RecomputeMethod::none)
      fail("recompute_method", "needs recompute_granularity full, which is " + granularity,
           "recompute_granularity=full, or leave this key out");
    if (recompute_num_layers > 0)
      fail("recompute_num_layers", "needs recompute_granularity full, which is " + granularity,
           "recompute_granularity=full, or leave this key out");
  } else {
    if (recompute_method == RecomputeMethod::none)
      fail("recompute_num_layers", number(recompute_num_layers) + " needs a recompute_method to say of what",
           "recompute_method=uniform for groups of " + number(recompute_num_layers) + ", block for the first " +
               number(recompute_num_layers) + " layers");
    if (recompute_num_layers == 0)
      fail("recompute_num_layers", "is not given, and recompute_method block recomputes that many layers",
           "1 to " + number(num_layers) + ", or recompute_method=uniform");
    if (recompute_num_layers > num_layers)
      fail("recompute_num_layers", number(recompute_num_layers) + " is above num_layers (" + number(num_layers) + ")",
           number(num_layers) + " or less");
  }
  if (recompute_granularity != RecomputeGranularity::selective && !recompute_modules.empty())
    fail("recompute_modules", "needs recompute_granularity selective, which is " + granularity,
         "recompute_granularity=selective, or leave this key out");
  for (const std::string& module : recompute_modules) check_recompute_module(module, fail);
}

}  // namespace nemo
