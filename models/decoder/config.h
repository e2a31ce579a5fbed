// The shape of a decoder-only transformer: what GPT, Llama, Mistral and Qwen differ in. The recipe's `model` section.
// Not here: the named sizes (models/registry.h), the modules (models/decoder/model.h), other projects' config files.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/config/field.h"

namespace nemo {

class FieldPlaces;

enum class Normalization : uint8_t { layer_norm, rms_norm };
enum class MlpActivation : uint8_t { gelu_tanh, gelu, swiglu, silu, relu };  // swiglu alone is gated: silu(gate) * up
enum class PositionEmbedding : uint8_t { learned, rope };
enum class RopeScalingType : uint8_t { none, linear, llama3 };
enum class AttentionBackend : uint8_t { automatic, cudnn, own };
enum class RecomputeGranularity : uint8_t { none, selective, full };
enum class RecomputeMethod : uint8_t { none, uniform, block };

std::span<const std::string_view> enum_names(Normalization);
std::span<const std::string_view> enum_names(MlpActivation);
std::span<const std::string_view> enum_names(PositionEmbedding);
std::span<const std::string_view> enum_names(RopeScalingType);
std::span<const std::string_view> enum_names(AttentionBackend);
std::span<const std::string_view> enum_names(RecomputeGranularity);
std::span<const std::string_view> enum_names(RecomputeMethod);

// How rotary frequencies are stretched beyond the trained length. linear: positions / factor. llama3: wavelengths
// longer than original/low_freq_factor are divided by factor, those shorter than original/high_freq_factor are kept,
// between: blended.
struct RopeScaling {
  RopeScalingType type = RopeScalingType::none;
  double factor = 1, low_freq_factor = 1, high_freq_factor = 4;
  int64_t original_max_position_embeddings = 8192;

  bool operator==(const RopeScaling&) const = default;

  template <class Visit>
  void fields(Visit&& visit) {
    visit("type", type, "how rotary frequencies are stretched");
    visit("factor", factor, "by how much", AtLeast{1});
    visit("low_freq_factor", low_freq_factor,
          "llama3: wavelengths above original/low_freq_factor are stretched in full", Positive{});
    visit("high_freq_factor", high_freq_factor, "llama3: wavelengths below original/high_freq_factor are kept",
          Positive{});
    visit("original_max_position_embeddings", original_max_position_embeddings, "llama3: the length before stretching",
          Positive{});
  }
};

struct DecoderConfig {
  std::string preset;          // the named size this started from; empty: none
  std::string family = "gpt";  // gpt | llama | mistral | qwen2 | qwen3: checkpoint names, config.json and defaults
  int64_t num_layers = 12, hidden_size = 768;
  int64_t ffn_hidden_size = 0;  // 0: 4 hidden_size; gated: 2/3 of that, rounded down to 64
  int64_t num_attention_heads = 12;
  int64_t num_query_groups = 0;  // key/value heads; 0: num_attention_heads
  int64_t head_dim = 0;          // 0: hidden_size / num_attention_heads
  int64_t vocab_size = 0;        // 0: the tokenizer's
  int64_t seq_length = 1024;
  int64_t max_position_embeddings = 0;  // 0: seq_length
  Normalization normalization = Normalization::layer_norm;
  double norm_epsilon = 1e-5;
  MlpActivation activation = MlpActivation::gelu_tanh;
  PositionEmbedding position_embedding_type = PositionEmbedding::learned;
  double rotary_base = 10000;
  RopeScaling rope_scaling;
  int64_t window_size = 0;  // a token sees this many keys, itself included; 0: all before it
  bool share_embeddings_and_output_weights = true;
  bool add_bias_linear = true;  // bias in every linear
  bool add_qkv_bias = false;    // bias in wq, wk and wv even where add_bias_linear is false
  bool qk_norm = false;         // RMSNorm over each head of q and k, before rope
  double init_method_std = 0.02;
  double hidden_dropout = 0, attention_dropout = 0, embedding_dropout = 0;
  AttentionBackend attention_backend = AttentionBackend::automatic;
  bool bias_gelu_fusion = true;

  RecomputeGranularity recompute_granularity = RecomputeGranularity::none;
  RecomputeMethod recompute_method = RecomputeMethod::none;  // none: uniform, where granularity is full
  int64_t recompute_num_layers = 0;                          // 0: groups of 1, where the method is uniform
  std::vector<std::string> recompute_modules;                // empty: core_attn, where granularity is selective
  bool cpu_offloading = false, cpu_offloading_activations = true, cpu_offloading_weights = false;
  int64_t cpu_offloading_num_layers = 0;

  bool operator==(const DecoderConfig&) const = default;

  bool gated() const { return activation == MlpActivation::swiglu; }
  bool qkv_bias() const { return add_bias_linear || add_qkv_bias; }

  // selective: of this module (core_attn, layernorm, mlp, mlp_act) the backward makes the results again.
  bool recomputes(std::string_view module) const;
  // full: how many layers, from `layer` on, are computed again as one region; 0: none, this layer keeps what it saves.
  int64_t recomputed_layers(int64_t layer) const;

  // Fills what 0 leaves to the other fields, vocab_size excepted. The one place where these defaults are worked out.
  void resolve();

  // RecipeError where the fields contradict each other; for a resolved config. places says where each was set.
  void check(const FieldPlaces& places) const;

  template <class Visit>
  void fields(Visit&& visit) {
    visit("preset", preset, "a named size (nemo recipes ls --presets); other keys of this section override it",
          Optional{});
    visit("family", family, "architecture family", OneOf{"gpt", "llama", "mistral", "qwen2", "qwen3"});
    visit("num_layers", num_layers, "transformer layers", Positive{}, AtMost{1e4});
    visit("hidden_size", hidden_size, "width of the residual stream", Positive{}, AtMost{1e6});
    visit("ffn_hidden_size", ffn_hidden_size,
          "width inside the feed-forward block; null: 4 hidden_size, or 2/3 of that where gated", AtLeast{0},
          AtMost{1e7}, Optional{});
    visit("num_attention_heads", num_attention_heads, "query heads", Positive{}, AtMost{1e5});
    visit("num_query_groups", num_query_groups, "key/value heads; null: num_attention_heads", AtLeast{0}, AtMost{1e5},
          Optional{});
    visit("head_dim", head_dim, "width of one head; null: hidden_size / num_attention_heads", AtLeast{0}, AtMost{1e5},
          Optional{}, Alias{"kv_channels"});
    visit("vocab_size", vocab_size, "tokens the model knows, before padding; null: the tokenizer's", AtLeast{0},
          AtMost{1e8}, Optional{});
    visit("seq_length", seq_length, "tokens of a training sample", Positive{}, AtMost{1e8});
    visit("max_position_embeddings", max_position_embeddings, "longest sequence the model can take; null: seq_length",
          AtLeast{0}, AtMost{1e8}, Optional{});
    visit("normalization", normalization, "normalisation before each block and at the end");
    visit("norm_epsilon", norm_epsilon, "added to the variance", Positive{});
    visit("activation", activation, "of the feed-forward block; swiglu is gated");
    visit("position_embedding_type", position_embedding_type, "learned table or rotary");
    visit("rotary_base", rotary_base, "rope: the longest wavelength over 2 pi", Positive{});
    visit("rope_scaling", rope_scaling, "rope: stretching for long sequences");
    visit("window_size", window_size, "sliding attention window in tokens, itself included; null: none", AtLeast{0},
          AtMost{1e8}, Optional{});
    visit("share_embeddings_and_output_weights", share_embeddings_and_output_weights,
          "one matrix for embedding and output");
    visit("add_bias_linear", add_bias_linear, "bias in every linear");
    visit("add_qkv_bias", add_qkv_bias, "bias in the query, key and value projections, whatever add_bias_linear says");
    visit("qk_norm", qk_norm, "RMSNorm over each head of queries and keys");
    visit("init_method_std", init_method_std, "standard deviation of initial weights", Positive{});
    visit("hidden_dropout", hidden_dropout, "dropout of each block's output", AtLeast{0}, Below{1});
    visit("attention_dropout", attention_dropout, "dropout of attention probabilities", AtLeast{0}, Below{1});
    visit("embedding_dropout", embedding_dropout, "dropout of the embedded tokens", AtLeast{0}, Below{1});
    visit("attention_backend", attention_backend, "auto, cudnn (fused library kernel) or own");
    visit("bias_gelu_fusion", bias_gelu_fusion,
          "on the GPU in bf16: bias and gelu_tanh inside the products beside them, where the linears have biases and "
          "neither mlp_act nor mlp is recomputed");
    visit("recompute_granularity", recompute_granularity,
          "what the backward pass computes again instead of keeping: none, results of some modules, or whole layers",
          Optional{});
    visit("recompute_method", recompute_method,
          "full: all layers in uniform groups, or a block of layers at the start; none: uniform", Optional{});
    visit("recompute_num_layers", recompute_num_layers,
          "full: layers in a group (uniform; null: 1) or in the block (block)", AtLeast{0}, Optional{});
    visit(
        "recompute_modules", recompute_modules,
        "selective: core_attn, layernorm, mlp_act (what the activation gives), mlp (all up to its last product); null: "
        "core_attn",
        Optional{});
    visit("cpu_offloading", cpu_offloading, "keep part of the saved tensors or weights in host memory");
    visit("cpu_offloading_num_layers", cpu_offloading_num_layers, "layers to offload", AtLeast{0});
    visit("cpu_offloading_activations", cpu_offloading_activations, "offload saved tensors");
    visit("cpu_offloading_weights", cpu_offloading_weights, "offload weights");
  }
};

}  // namespace nemo
