// GPT-2 as Hugging Face writes it: config.json and tensor names. Not here: the choice of family
// (models/hugging_face.h).
#pragma once
#include "models/common/hf_keys.h"
#include "models/hugging_face.h"

namespace nemo {

DecoderConfig parse_gpt2_config(HfKeys& keys);
std::string gpt2_config_text(const HfConfig& config, HfStyle style);

extern const NameTable kGpt2Names;

}  // namespace nemo
