// When a pipeline stage does what: a list of actions per stage, as data that a test can read.
// Not here: who carries the actions out (pipeline.h), which layers a stage has (stage_layers.h).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "parallel/config.h"

namespace nemo {

// Stage s runs chunks s, num_stages + s, 2 num_stages + s, ... of the model.
struct PipelineShape {
  int64_t num_stages = 1, num_chunks = 1, num_micro_batches = 1;
};

struct PipelineAction {
  // Receives start early and are waited for by the computation of the same micro-batch and chunk; sends are not waited
  // for.
  enum class Kind : uint8_t {
    receive_forward,
    forward,
    send_forward,
    receive_backward,
    backward,
    send_backward,
    weight_gradient
  };
  Kind kind;
  int64_t micro_batch, chunk;  // chunk: of the stage's own
  bool operator==(const PipelineAction&) const = default;
};
std::string to_string(const PipelineAction& action);  // "forward 3.0": micro-batch 3, chunk 0

// PlanError where the shape cannot be scheduled: interleaving needs micro-batches divisible by the stages, zero_bubble
// one chunk.
std::vector<PipelineAction> pipeline_actions(PipelineSchedule schedule, const PipelineShape& shape, int64_t stage);
// Forward alone, for validation.
std::vector<PipelineAction> forward_actions(const PipelineShape& shape, int64_t stage);

// Where a stage's forward of a chunk goes, and what it comes from: the neighbour's stage and its chunk.
struct PipelinePlace {
  int64_t stage, chunk;
  bool operator==(const PipelinePlace&) const = default;
};
std::optional<PipelinePlace> next_place(const PipelineShape& shape, PipelinePlace place);
std::optional<PipelinePlace> previous_place(const PipelineShape& shape, PipelinePlace place);

}  // namespace nemo
