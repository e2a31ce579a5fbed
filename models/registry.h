// The named sizes of every family, and each family's defaults. Not here: what the fields mean
// (models/decoder/config.h).
#pragma once
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "models/decoder/config.h"

namespace nemo {

struct Preset {
  std::string_view name, source;  // "gpt2_124m"; paper or model card
  DecoderConfig config;
};

// All presets, in the order in which they are listed to a person.
std::vector<Preset> list_presets();
std::optional<DecoderConfig> find_preset(std::string_view name);

// What a model of this family looks like where a recipe says nothing; nothing for an unknown family.
std::optional<DecoderConfig> family_defaults(std::string_view family);

}  // namespace nemo
