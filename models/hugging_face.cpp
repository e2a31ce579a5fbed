#include "models/hugging_face.h"

#include <filesystem>

#include "core/error.h"
#include "models/common/hf_keys.h"
#include "models/gpt/hugging_face.h"
#include "models/llama/hugging_face.h"

namespace nemo {
namespace {

DType dtype_of_config(HfKeys& keys) {
  std::optional<std::string> dtype = keys.text("dtype");
  if (const std::optional<std::string> older = keys.text("torch_dtype"); !dtype) dtype = older;
  if (!dtype || *dtype == "float32") return DType::fp32;
  if (*dtype == "bfloat16") return DType::bf16;
  if (*dtype == "float16") return DType::fp16;
  keys.refuse("dtype", "'" + *dtype + "' is not supported", "float32, bfloat16 or float16");
}

}  // namespace

HfConfig parse_hf_config(const std::string& json_text, const std::string& place) {
  HfKeys keys(place, json_text);
  const std::optional<std::string> model_type = keys.text("model_type");
  if (!model_type) keys.refuse("model_type", "is missing");
  HfConfig config;
  config.dtype = dtype_of_config(keys);
  config.bos_token_id = keys.integer("bos_token_id");
  config.pad_token_id = keys.integer("pad_token_id");
  config.eos_token_ids = keys.integers("eos_token_id");
  keys.ignore_common();
  if (*model_type == "gpt2") {
    config.decoder = parse_gpt2_config(keys);
  } else if (*model_type == "llama" || *model_type == "mistral" || *model_type == "qwen2" || *model_type == "qwen3") {
    config.decoder = parse_llama_config(keys, *model_type);
  } else {
    keys.refuse("model_type", "'" + *model_type + "' is not supported", "gpt2, llama, mistral, qwen2 or qwen3");
  }
  keys.finish();
  config.decoder.resolve();
  return config;
}

HfConfig read_hf_config(const std::string& folder) {
  const std::string path = (std::filesystem::path(folder) / "config.json").string();
  if (!std::filesystem::exists(path))
    throw CheckpointError{folder, "", "has no config.json", "a Hugging Face model folder"};
  return parse_hf_config(read_text_file(path), path);
}

std::string hf_config_text(const HfConfig& config, HfStyle style) {
  return config.decoder.family == "gpt" ? gpt2_config_text(config, style) : llama_config_text(config, style);
}

const NameTable& hf_name_table(const DecoderConfig& config) {
  return config.family == "gpt" ? kGpt2Names : kLlamaNames;
}

}  // namespace nemo
