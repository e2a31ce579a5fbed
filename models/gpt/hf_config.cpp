#include <nlohmann/json.hpp>

#include "core/error.h"
#include "models/common/hf_config_text.h"
#include "models/gpt/hugging_face.h"

namespace nemo {
namespace {

struct ActivationName {
  std::string_view hf;
  MlpActivation activation;
};
// The first name of an activation is the one written. All tanh approximations of gelu are the same formula.
constexpr ActivationName kActivations[] = {
    {"gelu_new", MlpActivation::gelu_tanh},  {"gelu_pytorch_tanh", MlpActivation::gelu_tanh},
    {"gelu_fast", MlpActivation::gelu_tanh}, {"gelu", MlpActivation::gelu},
    {"relu", MlpActivation::relu},           {"silu", MlpActivation::silu},
    {"swish", MlpActivation::silu}};

MlpActivation activation_named(HfKeys& keys, const std::string& hf) {
  for (const ActivationName& entry : kActivations) {
    if (entry.hf == hf) return entry.activation;
  }
  keys.refuse("activation_function", "'" + hf + "' is not supported", "gelu_new, gelu, relu or silu");
}

std::string_view name_of(MlpActivation activation) {
  for (const ActivationName& entry : kActivations) {
    if (entry.activation == activation) return entry.hf;
  }
  throw CheckpointError{"config.json", "activation", "GPT-2 has no gated feed-forward block", "family llama"};
}

}  // namespace

DecoderConfig parse_gpt2_config(HfKeys& keys) {
  DecoderConfig config;
  config.family = "gpt";
  config.num_layers = keys.required_size("n_layer");
  config.hidden_size = keys.required_size("n_embd");
  config.num_attention_heads = keys.required_size("n_head");
  if (config.hidden_size % config.num_attention_heads != 0) {
    keys.refuse("n_head", std::to_string(config.num_attention_heads) + " does not divide n_embd (" +
                              std::to_string(config.hidden_size) + ")");
  }
  config.vocab_size = keys.required_size("vocab_size");
  config.seq_length = config.max_position_embeddings = keys.required_size("n_positions");
  config.ffn_hidden_size = keys.integer("n_inner").value_or(4 * config.hidden_size);
  if (config.ffn_hidden_size <= 0) keys.refuse("n_inner", "must be above zero");
  config.norm_epsilon = keys.number("layer_norm_epsilon").value_or(1e-5);
  config.activation = activation_named(keys, keys.text("activation_function").value_or("gelu_new"));
  config.init_method_std = keys.number("initializer_range").value_or(0.02);
  config.hidden_dropout = keys.probability("resid_pdrop", 0.1);
  config.embedding_dropout = keys.probability("embd_pdrop", 0.1);
  config.attention_dropout = keys.probability("attn_pdrop", 0.1);
  config.share_embeddings_and_output_weights = keys.flag("tie_word_embeddings").value_or(true);
  keys.require_flag("scale_attn_weights", true, true);
  keys.require_flag("scale_attn_by_inverse_layer_idx", false, false);
  keys.require_flag("reorder_and_upcast_attn", false, false);
  keys.ignore({"n_ctx", "summary_activation", "summary_first_dropout", "summary_proj_to_labels", "summary_type",
               "summary_use_proj"});
  return config;
}

std::string gpt2_config_text(const HfConfig& config, HfStyle style) {
  const DecoderConfig& decoder = config.decoder;
  const HfWords words(decoder, "GPT-2");
  words.need("normalization", decoder.normalization == Normalization::layer_norm);
  words.need("position_embedding_type", decoder.position_embedding_type == PositionEmbedding::learned);
  words.need("add_bias_linear", decoder.add_bias_linear);
  words.need("qk_norm", !decoder.qk_norm);
  words.need("num_query_groups", decoder.num_query_groups == decoder.num_attention_heads);
  words.need("head_dim", decoder.head_dim * decoder.num_attention_heads == decoder.hidden_size);
  words.need("window_size", decoder.window_size == 0);
  nlohmann::json json = {{"model_type", "gpt2"},
                         {"architectures", {"GPT2LMHeadModel"}},
                         {"n_layer", decoder.num_layers},
                         {"n_embd", decoder.hidden_size},
                         {"n_head", decoder.num_attention_heads},
                         {"n_positions", decoder.max_position_embeddings},
                         {"n_inner", decoder.ffn_hidden_size},
                         {"vocab_size", decoder.vocab_size},
                         {"activation_function", name_of(decoder.activation)},
                         {"layer_norm_epsilon", decoder.norm_epsilon},
                         {"initializer_range", decoder.init_method_std},
                         {"resid_pdrop", decoder.hidden_dropout},
                         {"embd_pdrop", decoder.embedding_dropout},
                         {"attn_pdrop", decoder.attention_dropout},
                         {"tie_word_embeddings", decoder.share_embeddings_and_output_weights},
                         {"scale_attn_weights", true},
                         {"scale_attn_by_inverse_layer_idx", false},
                         {"reorder_and_upcast_attn", false},
                         {"use_cache", true}};
  add_hf_common(json, config, style);
  return json.dump(2) + "\n";
}

}  // namespace nemo
