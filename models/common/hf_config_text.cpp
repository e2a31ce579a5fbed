#include "models/common/hf_config_text.h"

#include <nlohmann/json.hpp>

#include "core/error.h"

namespace nemo {

void HfWords::need(std::string_view field, bool expressible) const {
  if (expressible) return;
  throw CheckpointError{"config.json", "model." + std::string(field),
                        "has a value that " + family_ + "'s config.json cannot express",
                        "another model.family than " + config_.family + ", if one has it"};
}

void add_hf_common(nlohmann::json& json, const HfConfig& config, HfStyle style) {
  const char* dtype = nullptr;
  switch (config.dtype) {
    case DType::fp32:
      dtype = "float32";
      break;
    case DType::bf16:
      dtype = "bfloat16";
      break;
    case DType::fp16:
      dtype = "float16";
      break;
    default:
      throw CheckpointError{"config.json", std::string(name(config.dtype)), "is no type for weights",
                            "fp32, bf16 or fp16"};
  }
  json[style == HfStyle::v4 ? "torch_dtype" : "dtype"] = dtype;
  const auto id = [](const std::optional<int64_t>& value) {
    return value ? nlohmann::json(*value) : nlohmann::json(nullptr);
  };
  json["bos_token_id"] = id(config.bos_token_id);
  json["pad_token_id"] = id(config.pad_token_id);
  json["eos_token_id"] = nullptr;
  if (config.eos_token_ids.size() == 1) json["eos_token_id"] = config.eos_token_ids.front();
  if (config.eos_token_ids.size() > 1) json["eos_token_id"] = config.eos_token_ids;
}

}  // namespace nemo
