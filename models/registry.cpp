#include "models/registry.h"

#include "models/gpt/presets.h"
#include "models/llama/presets.h"

namespace nemo {

std::vector<Preset> list_presets() {
  std::vector<Preset> presets = gpt_presets();
  for (Preset& preset : llama_presets()) presets.push_back(std::move(preset));
  for (Preset& preset : presets) preset.config.preset = preset.name;
  return presets;
}

std::optional<DecoderConfig> find_preset(std::string_view name) {
  for (Preset& preset : list_presets())
    if (preset.name == name) return std::move(preset.config);
  return std::nullopt;
}

std::optional<DecoderConfig> family_defaults(std::string_view family) {
  if (family == "gpt") return gpt_defaults();
  if (family == "llama" || family == "mistral" || family == "qwen2" || family == "qwen3") return llama_defaults(family);
  return std::nullopt;
}

}  // namespace nemo
