#include <nlohmann/json.hpp>

#include "core/error.h"
#include "models/common/hf_config_text.h"
#include "models/llama/hugging_face.h"

namespace nemo {
namespace {

// Inside rope_scaling (version 4) or rope_parameters (version 5). `type` is the older spelling of `rope_type`.
RopeScaling parse_rope(HfKeys& rope) {
  RopeScaling scaling;
  const std::optional<std::string> older = rope.text("type");
  const std::string type = rope.text("rope_type").value_or(older.value_or("default"));
  if (rope.number("partial_rotary_factor").value_or(1) != 1)
    rope.refuse("partial_rotary_factor", "other than 1 is not supported");
  if (type == "default") {
    rope.ignore({"factor", "original_max_position_embeddings"});
  } else if (type == "linear") {
    scaling.type = RopeScalingType::linear;
    scaling.factor = rope.required_positive("factor");
    rope.ignore({"original_max_position_embeddings"});
  } else if (type == "llama3") {
    scaling.type = RopeScalingType::llama3;
    scaling.factor = rope.required_positive("factor");
    scaling.low_freq_factor = rope.required_positive("low_freq_factor");
    scaling.high_freq_factor = rope.required_positive("high_freq_factor");
    scaling.original_max_position_embeddings = rope.required_size("original_max_position_embeddings");
    if (scaling.high_freq_factor <= scaling.low_freq_factor)
      rope.refuse("high_freq_factor", "must be above low_freq_factor");
  } else {
    rope.refuse("rope_type", "'" + type + "' is not supported", "default, linear or llama3");
  }
  return scaling;
}

void parse_positions(HfKeys& keys, const std::string& family, DecoderConfig& config) {
  std::optional<double> base = keys.number("rope_theta");
  std::optional<HfKeys> parameters = keys.object("rope_parameters"), older = keys.object("rope_scaling");
  if (parameters && older)
    keys.refuse("rope_scaling", "stands beside rope_parameters, which says the same", "keep one of the two");
  for (std::optional<HfKeys>* rope : {&parameters, &older}) {
    if (!*rope) continue;
    if (const std::optional<double> inner = (*rope)->number("rope_theta"); inner) {
      if (base && *base != *inner) keys.refuse("rope_theta", "differs from the one in rope_parameters");
      base = inner;
    }
    config.rope_scaling = parse_rope(**rope);
    (*rope)->finish();
  }
  if (keys.number("partial_rotary_factor").value_or(1) != 1)
    keys.refuse("partial_rotary_factor", "other than 1 is not supported");
  // The first Llamas came before the key; elsewhere the default has changed between versions.
  if (!base && family != "llama")
    keys.refuse("rope_theta", "is missing", "add it to the file: the default depends on the version that wrote it");
  config.rotary_base = base.value_or(10000);
  if (!(config.rotary_base > 0)) keys.refuse("rope_theta", "must be above zero");
}

// Mistral: one window in every layer. Qwen: the layers from max_window_layers on, if use_sliding_window. Both may
// instead list every layer's type. nemo has one window for all layers.
int64_t parse_window(HfKeys& keys, const std::string& family, int64_t num_layers) {
  const std::optional<int64_t> window = keys.integer("sliding_window");
  const std::optional<std::vector<std::string>> layer_types = keys.texts("layer_types");
  bool sliding = family == "mistral";
  bool allowed = true;
  if (family == "qwen2" || family == "qwen3") {
    sliding = allowed = keys.flag("use_sliding_window").value_or(false);
    const int64_t full_layers = keys.integer("max_window_layers").value_or(28);
    if (sliding && window && !layer_types && full_layers > 0 && full_layers < num_layers) {
      keys.refuse("max_window_layers", "gives some layers a sliding window and others none, which is not supported");
    }
    sliding = sliding && full_layers < num_layers;
  } else if (family == "llama" && window) {
    keys.refuse("sliding_window", "is not part of Llama", "model_type mistral");
  }
  if (sliding && !keys.has("sliding_window"))
    keys.refuse("sliding_window", "is missing", "add it to the file, null for none");
  if (layer_types) {
    if (layer_types->size() != static_cast<size_t>(num_layers))
      keys.refuse("layer_types", "does not have one entry a layer");
    for (const std::string& type : *layer_types) {
      if (type != "full_attention" && type != "sliding_attention")
        keys.refuse("layer_types", "'" + type + "' is not supported");
      if (type != layer_types->front())
        keys.refuse("layer_types", "mixes full and sliding attention, which is not supported");
    }
    sliding = layer_types->front() == "sliding_attention";
    if (sliding && !allowed) keys.refuse("layer_types", "asks for sliding attention, but use_sliding_window is false");
  }
  if (sliding && window && *window <= 0) keys.refuse("sliding_window", "must be above zero");
  if (layer_types && sliding && !window) keys.refuse("sliding_window", "is missing, but layer_types asks for it");
  return sliding ? window.value_or(0) : 0;
}

void parse_heads(HfKeys& keys, const std::string& family, DecoderConfig& config) {
  config.num_attention_heads = keys.required_size("num_attention_heads");
  const std::optional<int64_t> groups = keys.integer("num_key_value_heads"), head_dim = keys.integer("head_dim");
  // Where it is absent Llama takes the number of heads; the others' defaults fit one size only.
  if (!groups && family != "llama") keys.refuse("num_key_value_heads", "is missing");
  config.num_query_groups = groups.value_or(config.num_attention_heads);
  if (config.num_query_groups <= 0 || config.num_attention_heads % config.num_query_groups != 0) {
    keys.refuse("num_key_value_heads", std::to_string(config.num_query_groups) +
                                           " does not divide num_attention_heads (" +
                                           std::to_string(config.num_attention_heads) + ")");
  }
  if (!head_dim && family == "qwen3") keys.refuse("head_dim", "is missing");
  if (!head_dim && config.hidden_size % config.num_attention_heads != 0) {
    keys.refuse("num_attention_heads", std::to_string(config.num_attention_heads) + " does not divide hidden_size (" +
                                           std::to_string(config.hidden_size) + ")");
  }
  config.head_dim = head_dim.value_or(config.hidden_size / config.num_attention_heads);
  if (config.head_dim <= 0 || config.head_dim % 2 != 0)
    keys.refuse("head_dim", "must be an even number above zero, for rope turns pairs");
}

void parse_biases(HfKeys& keys, const std::string& family, DecoderConfig& config) {
  config.add_qkv_bias = family == "qwen2";
  if (family == "llama") {
    const bool attention = keys.flag("attention_bias").value_or(false), mlp = keys.flag("mlp_bias").value_or(false);
    if (attention != mlp)
      keys.refuse(attention ? "attention_bias" : "mlp_bias", "true without the other bias is not supported");
    config.add_bias_linear = attention;
  } else {
    keys.require_flag("attention_bias", false, false);
    keys.require_flag("mlp_bias", false, false);
  }
}

nlohmann::json rope_json(const DecoderConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  switch (scaling.type) {
    case RopeScalingType::none:
      return {{"rope_type", "default"}};
    case RopeScalingType::linear:
      return {{"rope_type", "linear"}, {"factor", scaling.factor}};
    case RopeScalingType::llama3:
      break;
  }
  return {{"rope_type", "llama3"},
          {"factor", scaling.factor},
          {"low_freq_factor", scaling.low_freq_factor},
          {"high_freq_factor", scaling.high_freq_factor},
          {"original_max_position_embeddings", scaling.original_max_position_embeddings}};
}

const char* architecture_of(const std::string& family) {
  if (family == "mistral") return "MistralForCausalLM";
  if (family == "qwen2") return "Qwen2ForCausalLM";
  if (family == "qwen3") return "Qwen3ForCausalLM";
  return "LlamaForCausalLM";
}

}  // namespace

DecoderConfig parse_llama_config(HfKeys& keys, const std::string& model_type) {
  DecoderConfig config;
  config.family = model_type;
  config.normalization = Normalization::rms_norm;
  config.activation = MlpActivation::swiglu;
  config.position_embedding_type = PositionEmbedding::rope;
  config.add_bias_linear = false;
  config.qk_norm = model_type == "qwen3";
  config.num_layers = keys.required_size("num_hidden_layers");
  config.hidden_size = keys.required_size("hidden_size");
  config.ffn_hidden_size = keys.required_size("intermediate_size");
  config.vocab_size = keys.required_size("vocab_size");
  config.seq_length = config.max_position_embeddings = keys.required_size("max_position_embeddings");
  config.norm_epsilon = keys.required_positive("rms_norm_eps");
  const std::string activation = keys.text("hidden_act").value_or("silu");
  if (activation != "silu" && activation != "swish")
    keys.refuse("hidden_act", "'" + activation + "' is not supported", "silu");
  config.init_method_std = keys.number("initializer_range").value_or(0.02);
  config.attention_dropout = keys.probability("attention_dropout", 0);
  config.share_embeddings_and_output_weights = keys.flag("tie_word_embeddings").value_or(false);
  parse_heads(keys, model_type, config);
  parse_positions(keys, model_type, config);
  config.window_size = parse_window(keys, model_type, config.num_layers);
  parse_biases(keys, model_type, config);
  keys.require_flag("use_mrope", false, false);
  keys.ignore({"pretraining_tp"});  // how a matrix product was once split; the same sums
  return config;
}

// Dropout of the residual stream and the embedding has no key here: it belongs to training, not to the model.
std::string llama_config_text(const HfConfig& config, HfStyle style) {
  const DecoderConfig& decoder = config.decoder;
  const std::string& family = decoder.family;
  const HfWords words(decoder, family);
  const bool qwen = family == "qwen2" || family == "qwen3";
  words.need("normalization", decoder.normalization == Normalization::rms_norm);
  words.need("position_embedding_type", decoder.position_embedding_type == PositionEmbedding::rope);
  words.need("activation", decoder.activation == MlpActivation::swiglu);
  words.need("add_bias_linear", !decoder.add_bias_linear || family == "llama");
  words.need("add_qkv_bias", decoder.add_qkv_bias == (family == "qwen2"));
  words.need("qk_norm", decoder.qk_norm == (family == "qwen3"));
  words.need("window_size", decoder.window_size == 0 || family != "llama");
  nlohmann::json json = {{"model_type", family},
                         {"architectures", {architecture_of(family)}},
                         {"num_hidden_layers", decoder.num_layers},
                         {"hidden_size", decoder.hidden_size},
                         {"intermediate_size", decoder.ffn_hidden_size},
                         {"num_attention_heads", decoder.num_attention_heads},
                         {"num_key_value_heads", decoder.num_query_groups},
                         {"vocab_size", decoder.vocab_size},
                         {"max_position_embeddings", decoder.max_position_embeddings},
                         {"rms_norm_eps", decoder.norm_epsilon},
                         {"hidden_act", "silu"},
                         {"initializer_range", decoder.init_method_std},
                         {"attention_dropout", decoder.attention_dropout},
                         {"tie_word_embeddings", decoder.share_embeddings_and_output_weights},
                         {"use_cache", true}};
  // Qwen2 came before the key; readers that know it honour it there too.
  if (family != "qwen2" || decoder.head_dim * decoder.num_attention_heads != decoder.hidden_size)
    json["head_dim"] = decoder.head_dim;
  if (family == "llama") json["attention_bias"] = json["mlp_bias"] = decoder.add_bias_linear;
  if (family == "qwen3") json["attention_bias"] = false;
  if (family != "llama")
    json["sliding_window"] = decoder.window_size > 0 ? nlohmann::json(decoder.window_size) : nlohmann::json(nullptr);
  if (qwen) {
    json["use_sliding_window"] = decoder.window_size > 0;
    json["max_window_layers"] = decoder.window_size > 0 ? 0 : decoder.num_layers;
  }
  nlohmann::json rope = rope_json(decoder);
  if (style == HfStyle::v5) {
    rope["rope_theta"] = decoder.rotary_base;
    json["rope_parameters"] = rope;
    if (qwen)
      json["layer_types"] = std::vector<std::string>(static_cast<size_t>(decoder.num_layers),
                                                     decoder.window_size > 0 ? "sliding_attention" : "full_attention");
  } else {
    json["rope_theta"] = decoder.rotary_base;
    json["rope_scaling"] = decoder.rope_scaling.type == RopeScalingType::none ? nlohmann::json(nullptr) : rope;
  }
  add_hf_common(json, config, style);
  return json.dump(2) + "\n";
}

}  // namespace nemo
