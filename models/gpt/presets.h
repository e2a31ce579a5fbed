// Named sizes of the GPT-2 and GPT-3 families. Not here: looking one up (models/registry.h).
#pragma once
#include <vector>

#include "models/registry.h"

namespace nemo {

DecoderConfig gpt_defaults();
std::vector<Preset> gpt_presets();

}  // namespace nemo
