// The places of a model where a plan may put something of its own, by name. Not here: what it puts there (parallel/).
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/nn/attention_core.h"
#include "core/nn/embedding.h"
#include "core/nn/linear.h"
#include "core/ops/linear_cross_entropy.h"

namespace nemo {

struct Seams {
  struct NamedLinear {
    std::string name;  // "layers.0.attention.qkv"
    Linear* linear;
  };
  struct NamedAttention {
    std::string name;  // "layers.0.attention"
    std::unique_ptr<AttentionCore>* core;
    int64_t num_heads;  // query heads, uncut
  };
  std::vector<NamedLinear> linears;
  std::vector<NamedAttention> attention;
  Embedding* embedding = nullptr;                            // null: not in this part of the model
  std::unique_ptr<VocabularyCut>* vocabulary_cut = nullptr;  // of the loss head
};

}  // namespace nemo
