// Cuts a model that stands as shapes: slices its parameters and attaches the collectives that the cut needs.
// Not here: the rules (models/*/sharding.h), the cut of batches (recipes/batch_layout.h), data parallelism, pipeline
// stages.
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

// Makes the store's parameters this rank's slices; before it allocates. PlanError where a parameter has no rule or
// cannot be cut so.
void cut_parameters(const ModelRanks& ranks, ParameterStore& store, std::span<const ShardRule> rules);

// Attaches what the cut needs to a model, or to each of its parts. PlanError where a layer has no rule.
void attach(const ModelRanks& ranks, const Seams& seams, std::span<const ModuleRule> rules);

}  // namespace nemo
