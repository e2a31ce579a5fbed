#include "models/llama/presets.h"

namespace nemo {
namespace {

constexpr std::string_view kLlama2 = "Llama 2, Touvron et al. 2023, arXiv:2307.09288";
constexpr std::string_view kLlama3 = "Llama 3, Grattafiori et al. 2024, arXiv:2407.21783";
constexpr std::string_view kMistral = "Mistral 7B v0.1, Jiang et al. 2023, arXiv:2310.06825";
constexpr std::string_view kQwen2 = "Qwen2.5, Yang et al. 2024, arXiv:2412.15115";
constexpr std::string_view kQwen3 = "Qwen3, Yang et al. 2025, arXiv:2505.09388";

struct Size {
  std::string_view name, family, source;
  int64_t num_layers, hidden_size, num_attention_heads, num_query_groups, ffn_hidden_size, vocab_size;
  int64_t seq_length, max_position_embeddings;
  double rotary_base, norm_epsilon;
  double rope_factor;  // Llama 3.1's stretching of rope; 0: none
  int64_t window_size;
  bool tied;
};

constexpr Size kSizes[] = {
    {"llama2_7b", "llama", kLlama2, 32, 4096, 32, 32, 11008, 32000, 4096, 4096, 1e4, 1e-5, 0, 0, false},
    {"llama2_13b", "llama", kLlama2, 40, 5120, 40, 40, 13824, 32000, 4096, 4096, 1e4, 1e-5, 0, 0, false},
    {"llama2_70b", "llama", kLlama2, 80, 8192, 64, 8, 28672, 32000, 4096, 4096, 1e4, 1e-5, 0, 0, false},
    {"llama3_8b", "llama", kLlama3, 32, 4096, 32, 8, 14336, 128256, 8192, 8192, 5e5, 1e-5, 0, 0, false},
    {"llama3_70b", "llama", kLlama3, 80, 8192, 64, 8, 28672, 128256, 8192, 8192, 5e5, 1e-5, 0, 0, false},
    {"llama3_1_8b", "llama", kLlama3, 32, 4096, 32, 8, 14336, 128256, 8192, 131072, 5e5, 1e-5, 8, 0, false},
    {"llama3_1_70b", "llama", kLlama3, 80, 8192, 64, 8, 28672, 128256, 8192, 131072, 5e5, 1e-5, 8, 0, false},
    {"llama3_1_405b", "llama", kLlama3, 126, 16384, 128, 8, 53248, 128256, 8192, 131072, 5e5, 1e-5, 8, 0, false},
    {"llama3_2_1b", "llama", kLlama3, 16, 2048, 32, 8, 8192, 128256, 8192, 131072, 5e5, 1e-5, 32, 0, true},
    {"llama3_2_3b", "llama", kLlama3, 28, 3072, 24, 8, 8192, 128256, 8192, 131072, 5e5, 1e-5, 32, 0, true},
    {"mistral_7b", "mistral", kMistral, 32, 4096, 32, 8, 14336, 32000, 8192, 32768, 1e4, 1e-5, 0, 4096, false},
    {"qwen2_5_0_5b", "qwen2", kQwen2, 24, 896, 14, 2, 4864, 151936, 4096, 32768, 1e6, 1e-6, 0, 0, true},
    {"qwen2_5_1_5b", "qwen2", kQwen2, 28, 1536, 12, 2, 8960, 151936, 4096, 131072, 1e6, 1e-6, 0, 0, true},
    {"qwen2_5_3b", "qwen2", kQwen2, 36, 2048, 16, 2, 11008, 151936, 4096, 32768, 1e6, 1e-6, 0, 0, true},
    {"qwen2_5_7b", "qwen2", kQwen2, 28, 3584, 28, 4, 18944, 152064, 4096, 131072, 1e6, 1e-6, 0, 0, false},
    {"qwen2_5_14b", "qwen2", kQwen2, 48, 5120, 40, 8, 13824, 152064, 4096, 131072, 1e6, 1e-5, 0, 0, false},
    {"qwen3_0_6b", "qwen3", kQwen3, 28, 1024, 16, 8, 3072, 151936, 4096, 40960, 1e6, 1e-6, 0, 0, true},
    {"qwen3_1_7b", "qwen3", kQwen3, 28, 2048, 16, 8, 6144, 151936, 4096, 40960, 1e6, 1e-6, 0, 0, true},
    {"qwen3_4b", "qwen3", kQwen3, 36, 2560, 32, 8, 9728, 151936, 4096, 40960, 1e6, 1e-6, 0, 0, true},
    {"qwen3_8b", "qwen3", kQwen3, 36, 4096, 32, 8, 12288, 151936, 4096, 40960, 1e6, 1e-6, 0, 0, false},
};

}  // namespace

DecoderConfig llama_defaults(std::string_view family) {
  DecoderConfig config;
  config.family = family;
  config.normalization = Normalization::rms_norm;
  config.activation = MlpActivation::swiglu;
  config.position_embedding_type = PositionEmbedding::rope;
  config.share_embeddings_and_output_weights = false;
  config.add_bias_linear = false;
  if (family == "qwen2" || family == "qwen3") {
    config.norm_epsilon = 1e-6;
    config.rotary_base = 1e6;
  }
  config.add_qkv_bias = family == "qwen2";
  config.qk_norm = family == "qwen3";
  if (family == "qwen3") config.head_dim = 128;
  return config;
}

std::vector<Preset> llama_presets() {
  std::vector<Preset> presets;
  for (const Size& size : kSizes) {
    DecoderConfig config = llama_defaults(size.family);
    config.num_layers = size.num_layers;
    config.hidden_size = size.hidden_size;
    config.num_attention_heads = size.num_attention_heads;
    config.num_query_groups = size.num_query_groups;
    config.ffn_hidden_size = size.ffn_hidden_size;
    config.vocab_size = size.vocab_size;
    config.seq_length = size.seq_length;
    config.max_position_embeddings = size.max_position_embeddings;
    config.rotary_base = size.rotary_base;
    config.norm_epsilon = size.norm_epsilon;
    if (size.rope_factor > 0) config.rope_scaling = {RopeScalingType::llama3, size.rope_factor, 1, 4, 8192};
    config.window_size = size.window_size;
    config.share_embeddings_and_output_weights = size.tied;
    presets.push_back({size.name, size.source, std::move(config)});
  }
  return presets;
}

}  // namespace nemo
