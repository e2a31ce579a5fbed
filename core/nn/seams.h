// The places of a model where a plan may put something of its own, by name. Not here: what it puts there (parallel/).
#pragma once
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
    std::string name;
    Linear* linear;
  };  // "layers.0.attention.qkv"
  struct NamedAttention {
    std::string name;
    std::unique_ptr<AttentionCore>* core;
  };  // "layers.0.attention"
  std::vector<NamedLinear> linears;
  std::vector<NamedAttention> attention;
  Embedding* embedding = nullptr;                            // null: not in this part of the model
  std::unique_ptr<VocabularyCut>* vocabulary_cut = nullptr;  // of the loss head
};

}  // namespace nemo
