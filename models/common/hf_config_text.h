// What the writers of every family's config.json share. For .cpp files only: it needs the JSON library.
// Not here: one family's keys (models/<family>/hf_config.cpp), reading (hf_keys.h).
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "models/hugging_face.h"

namespace nemo {

// Refuses a model that the family's config.json has no words for.
class HfWords {
 public:
  HfWords(const DecoderConfig& config, std::string family) : config_(config), family_(std::move(family)) {}
  void need(std::string_view field, bool expressible) const;  // CheckpointError naming the field

 private:
  const DecoderConfig& config_;
  std::string family_;
};

void add_hf_common(nlohmann::json& json, const HfConfig& config, HfStyle style);  // dtype, token ids

}  // namespace nemo
