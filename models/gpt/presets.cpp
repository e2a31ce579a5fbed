#include "models/gpt/presets.h"

namespace nemo {
namespace {

constexpr std::string_view kGpt2 = "GPT-2, Radford et al. 2019";
constexpr std::string_view kGpt3 = "GPT-3, Brown et al. 2020, arXiv:2005.14165";

struct Size {
  std::string_view name, source;
  int64_t num_layers, hidden_size, num_attention_heads, seq_length;
};

constexpr Size kSizes[] = {
    {"gpt2_124m", kGpt2, 12, 768, 12, 1024},  {"gpt2_355m", kGpt2, 24, 1024, 16, 1024},
    {"gpt2_774m", kGpt2, 36, 1280, 20, 1024}, {"gpt2_1558m", kGpt2, 48, 1600, 25, 1024},
    {"gpt3_5b", kGpt3, 24, 4096, 32, 2048},   {"gpt3_175b", kGpt3, 96, 12288, 96, 2048},
};

}  // namespace

DecoderConfig gpt_defaults() {
  return DecoderConfig{};
}  // the struct's own defaults are GPT-2's

std::vector<Preset> gpt_presets() {
  std::vector<Preset> presets;
  for (const Size& size : kSizes) {
    DecoderConfig config = gpt_defaults();
    config.num_layers = size.num_layers;
    config.hidden_size = size.hidden_size;
    config.num_attention_heads = size.num_attention_heads;
    config.seq_length = size.seq_length;
    config.vocab_size = 50257;
    presets.push_back({size.name, size.source, std::move(config)});
  }
  return presets;
}

}  // namespace nemo
