// Cuts a model that stands as shapes: slices its parameters and attaches the collectives that the cut needs.
// Not here: the rules (models/*/sharding.h), the cut of batches (recipes/batch_layout.h), data parallelism, pipeline stages.
#pragma once
#include <span>

#include "core/nn/parameter_store.h"
#include "core/nn/seams.h"
#include "core/sharding/shard_rule.h"
#include "parallel/config.h"
#include "parallel/tensor/boundary.h"

namespace nemo {

// The ranks that hold one model between them. Default: one rank, nothing is cut.
struct ModelRanks {
  TensorRanks tensor;
  ProcessGroup context;
  ContextParallelComm context_comm = ContextParallelComm::p2p;
};

// Before the store allocates. PlanError where a parameter or layer has no rule, or cannot be cut so.
void apply(const ModelRanks& ranks, ParameterStore& store, const Seams& seams, std::span<const ShardRule> parameters, std::span<const ModuleRule> modules);

}  // namespace nemo
