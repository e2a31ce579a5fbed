// The Hugging Face face of the model zoo: config.json to and from DecoderConfig, and the table of tensor names.
// Not here: reading tensors (core/checkpoint), one family's keys (models/<family>/hf_config.cpp).
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "core/checkpoint/name_table.h"
#include "models/decoder/config.h"

namespace nemo {

// What config.json says beside the architecture. Absent ids are null in the file.
struct HfConfig {
  DecoderConfig decoder;
  DType dtype = DType::fp32;  // of the weights in the files
  std::optional<int64_t> bos_token_id, pad_token_id;
  std::vector<int64_t> eos_token_ids;

  bool operator==(const HfConfig&) const = default;
};

// transformers 4 (rope_theta, rope_scaling, torch_dtype) or 5 (rope_parameters, dtype). Version 5 reads both.
enum class HfStyle { v4, v5 };

// Both styles are read. Throws CheckpointError, naming place and key, for whatever nemo would compute differently.
HfConfig parse_hf_config(const std::string& json_text, const std::string& place);
HfConfig read_hf_config(const std::string& folder);

// CheckpointError where the family's config.json has no words for the model.
std::string hf_config_text(const HfConfig& config, HfStyle style);

const NameTable& hf_name_table(const DecoderConfig& config);

}  // namespace nemo
