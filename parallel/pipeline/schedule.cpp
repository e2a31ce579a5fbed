#include "parallel/pipeline/schedule.h"

#include <algorithm>

#include "core/error.h"

namespace nemo {
namespace {

using Kind = PipelineAction::Kind;

PipelineAction forward_of(const PipelineShape& shape, int64_t index) {
  const int64_t group = shape.num_stages * shape.num_chunks, within = index % group;
  return {Kind::forward, index / group * shape.num_stages + within % shape.num_stages, within / shape.num_stages};
}

PipelineAction backward_of(const PipelineShape& shape, int64_t index) {
  PipelineAction action = forward_of(shape, index);
  action.kind = Kind::backward;
  action.chunk = shape.num_chunks - 1 - action.chunk;
  return action;
}

std::vector<PipelineAction> one_forward_one_backward(const PipelineShape& shape, int64_t stage) {
  const int64_t total = shape.num_micro_batches * shape.num_chunks, before = shape.num_stages - 1 - stage;
  const int64_t warm_up =
      std::min(total, shape.num_chunks == 1 ? before : 2 * before + (shape.num_chunks - 1) * shape.num_stages);
  // One chunk: micro-batches simply in order, whatever their number.
  const auto forward = [&](int64_t i) {
    return shape.num_chunks == 1 ? PipelineAction{Kind::forward, i, 0} : forward_of(shape, i);
  };
  const auto backward = [&](int64_t i) {
    return shape.num_chunks == 1 ? PipelineAction{Kind::backward, i, 0} : backward_of(shape, i);
  };
  std::vector<PipelineAction> actions;
  for (int64_t i = 0; i < warm_up; ++i) actions.push_back(forward(i));
  for (int64_t i = warm_up; i < total; ++i) {
    actions.push_back(forward(i));
    actions.push_back(backward(i - warm_up));
  }
  for (int64_t i = total - warm_up; i < total; ++i) actions.push_back(backward(i));
  return actions;
}

// After each backward one weight gradient, but for the first `stage` ones: those are what later stages, which have
// fewer forwards in flight, may keep back to fill the end.
std::vector<PipelineAction> zero_bubble(const PipelineShape& shape, int64_t stage) {
  std::vector<PipelineAction> actions;
  int64_t backwards = 0, weight_gradients = 0;
  for (const PipelineAction& action : one_forward_one_backward(shape, stage)) {
    actions.push_back(action);
    if (action.kind == Kind::backward && ++backwards > stage)
      actions.push_back({Kind::weight_gradient, weight_gradients++, 0});
  }
  while (weight_gradients < backwards) actions.push_back({Kind::weight_gradient, weight_gradients++, 0});
  return actions;
}

// Adds receives and sends around computations. What an action receives is asked for before the action in front of it
// runs.
std::vector<PipelineAction> with_transfers(const PipelineShape& shape, int64_t stage,
                                           const std::vector<PipelineAction>& computations) {
  std::vector<PipelineAction> actions;
  const auto receive = [&](const PipelineAction& action) {
    const PipelinePlace here{stage, action.chunk};
    if (action.kind == Kind::forward && previous_place(shape, here))
      actions.push_back({Kind::receive_forward, action.micro_batch, action.chunk});
    if (action.kind == Kind::backward && next_place(shape, here))
      actions.push_back({Kind::receive_backward, action.micro_batch, action.chunk});
  };
  if (!computations.empty()) receive(computations.front());
  for (size_t i = 0; i < computations.size(); ++i) {
    const PipelineAction& action = computations[i];
    const PipelinePlace here{stage, action.chunk};
    if (i + 1 < computations.size()) receive(computations[i + 1]);
    actions.push_back(action);
    if (action.kind == Kind::forward && next_place(shape, here))
      actions.push_back({Kind::send_forward, action.micro_batch, action.chunk});
    if (action.kind == Kind::backward && previous_place(shape, here))
      actions.push_back({Kind::send_backward, action.micro_batch, action.chunk});
  }
  return actions;
}

}  // namespace

std::string to_string(const PipelineAction& action) {
  constexpr std::string_view kNames[] = {"receive_forward", "forward",       "send_forward",   "receive_backward",
                                         "backward",        "send_backward", "weight_gradient"};
  return std::string(kNames[static_cast<int>(action.kind)]) + " " + std::to_string(action.micro_batch) + "." +
         std::to_string(action.chunk);
}

std::optional<PipelinePlace> next_place(const PipelineShape& shape, PipelinePlace place) {
  if (place.stage + 1 < shape.num_stages) return PipelinePlace{place.stage + 1, place.chunk};
  if (place.chunk + 1 < shape.num_chunks) return PipelinePlace{0, place.chunk + 1};
  return std::nullopt;
}

std::optional<PipelinePlace> previous_place(const PipelineShape& shape, PipelinePlace place) {
  if (place.stage > 0) return PipelinePlace{place.stage - 1, place.chunk};
  if (place.chunk > 0) return PipelinePlace{shape.num_stages - 1, place.chunk - 1};
  return std::nullopt;
}

std::vector<PipelineAction> pipeline_actions(PipelineSchedule schedule, const PipelineShape& shape, int64_t stage) {
  if (shape.num_chunks > 1 && shape.num_micro_batches % shape.num_stages != 0)
    throw PlanError{"pipeline", "interleaving",
                    std::to_string(shape.num_micro_batches) + " micro-batches are not a multiple of the " +
                        std::to_string(shape.num_stages) + " stages",
                    "another data.global_batch_size, or virtual_pipeline_model_parallel_size=1"};
  if (schedule == PipelineSchedule::zero_bubble && shape.num_chunks > 1)
    throw PlanError{"pipeline", "zero_bubble",
                    "runs one chunk of layers on each stage, not " + std::to_string(shape.num_chunks),
                    "virtual_pipeline_model_parallel_size=1, or the 1f1b schedule"};
  return with_transfers(
      shape, stage,
      schedule == PipelineSchedule::zero_bubble ? zero_bubble(shape, stage) : one_forward_one_backward(shape, stage));
}

std::vector<PipelineAction> forward_actions(const PipelineShape& shape, int64_t stage) {
  // Micro-batch by micro-batch where the last group of an interleaved order would not be full: validation takes any
  // number.
  std::vector<PipelineAction> forwards;
  for (int64_t micro_batch = 0; micro_batch < shape.num_micro_batches; ++micro_batch)
    for (int64_t chunk = 0; chunk < shape.num_chunks; ++chunk) forwards.push_back({Kind::forward, micro_batch, chunk});
  return with_transfers(shape, stage, forwards);
}

}  // namespace nemo
