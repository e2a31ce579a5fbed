// Named sizes of Llama 2 and 3, Mistral, Qwen2.5 and Qwen3, and those families' defaults. Not here: looking one up
// (models/registry.h).
#pragma once
#include <string_view>
#include <vector>

#include "models/registry.h"

namespace nemo {

// family: llama, mistral, qwen2 or qwen3.
DecoderConfig llama_defaults(std::string_view family);
std::vector<Preset> llama_presets();

}  // namespace nemo
