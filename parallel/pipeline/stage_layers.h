// Which blocks of a model each pipeline stage runs. Not here: when (schedule.h).
#pragma once
#include <cstdint>
#include <vector>

namespace nemo {

// Counts of layers in the order of the model: stage 0's first chunk, stage 1's first chunk, ..., stage 0's second
// chunk, ... layout: as a recipe gives it; empty: equal counts. PlanError where it does not add up to num_layers, has
// not one count for each chunk of each stage, or leaves a chunk with nothing to run (the first also has the embedding
// and the last the head).
std::vector<int64_t> layers_of_stages(int64_t num_layers, int64_t num_stages, int64_t num_chunks,
                                      const std::vector<int64_t>& layout);

// Blocks [begin, end) of a chunk: block 0 is the embedding, then num_layers layers, then the head.
struct StageBlocks {
  int64_t begin, end;
};
std::vector<StageBlocks> blocks_of_stage(const std::vector<int64_t>& layers, int64_t num_stages, int64_t stage);

}  // namespace nemo
