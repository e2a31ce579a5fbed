// Llama, Mistral, Qwen2 and Qwen3 as Hugging Face writes them: config.json and tensor names.
// Not here: the choice of family (models/hugging_face.h).
#pragma once
#include "models/common/hf_keys.h"
#include "models/hugging_face.h"

namespace nemo {

DecoderConfig parse_llama_config(HfKeys& keys, const std::string& model_type);
std::string llama_config_text(const HfConfig& config, HfStyle style);

extern const NameTable kLlamaNames;

}  // namespace nemo
