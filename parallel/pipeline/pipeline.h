// One rank's part of a pipeline: runs its chunks of the model as a schedule says, and moves bundles between stages.
// Not here: the schedules (schedule.h), which layers are whose (stage_layers.h), what a chunk computes.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "core/autograd/tape.h"
#include "core/nn/block.h"
#include "parallel/comm/process_group.h"
#include "parallel/pipeline/schedule.h"

namespace nemo {

// A run of consecutive blocks of the model.
struct PipelineChunk {
  std::function<Bundle(ExecContext&, const Bundle& in, int64_t micro_batch)> forward;
  // Of the residual stream that comes in, [T, D]; whether a branch comes with it.
  std::function<Shape(int64_t micro_batch)> input_shape;
  bool takes_branch = false;
};

// The links of a stage to its neighbours: each carries one direction of one pass, so that transfers meet in the order
// of the schedule and no two of them wait for each other.
class PipelineLinks {
 public:
  PipelineLinks() = default;  // one stage
  // stages: the ranks of the pipeline in stage order; wrap: the last stage sends to the first (interleaving).
  PipelineLinks(GroupFactory& factory, const std::vector<int>& stages, int64_t stage, bool wrap);

  Work send_forward(ExecContext& ctx, std::vector<Tensor> tensors) const {
    return transfer(ctx, forward_out_, std::move(tensors), true, "activations");
  }
  Work receive_forward(ExecContext& ctx, std::vector<Tensor> tensors) const {
    return transfer(ctx, forward_in_, std::move(tensors), false, "activations");
  }
  Work send_backward(ExecContext& ctx, std::vector<Tensor> tensors) const {
    return transfer(ctx, backward_out_, std::move(tensors), true, "gradients");
  }
  Work receive_backward(ExecContext& ctx, std::vector<Tensor> tensors) const {
    return transfer(ctx, backward_in_, std::move(tensors), false, "gradients");
  }

 private:
  static Work transfer(ExecContext& ctx, const ProcessGroup& link, std::vector<Tensor> tensors, bool sends,
                       const char* label);
  ProcessGroup forward_in_, forward_out_, backward_in_, backward_out_;
};

class Pipeline {
 public:
  // ctx must outlive this.
  Pipeline(ExecContext& ctx, PipelineLinks links, PipelineSchedule schedule, int64_t num_stages, int64_t stage,
           std::vector<PipelineChunk> chunks);
  ~Pipeline();  // waits for what is in flight
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  // Forward and backward of all micro-batches; gradients are added up where the tape puts them. hooks: around every
  // block. on_weight_gradients, called with zero_bubble alone: a chunk's weight gradients of one more micro-batch are
  // complete.
  using OnWeightGradients = std::function<void(ExecContext&, int64_t chunk)>;
  void train(ExecContext& ctx, int64_t num_micro_batches, const BlockHooks& hooks,
             const OnWeightGradients& on_weight_gradients);
  // Forward alone, nothing recorded.
  void evaluate(ExecContext& ctx, int64_t num_micro_batches);

  PipelineShape shape(int64_t num_micro_batches) const {
    return {num_stages_, static_cast<int64_t>(chunks_.size()), num_micro_batches};
  }

 private:
  struct Flight {  // a micro-batch in a chunk, from its input to its last gradient
    Tape tape;
    Bundle in, out, grad_out;
    Work input, gradient;
  };
  void act(ExecContext& ctx, const PipelineAction& action, bool training, const BlockHooks& hooks,
           const OnWeightGradients& on_weight_gradients);
  void forward(ExecContext& ctx, const PipelineAction& action, Flight& flight, bool training, const BlockHooks& hooks);
  void backward(ExecContext& ctx, Flight& flight, bool last);
  Bundle room(ExecContext& ctx, const PipelineChunk& chunk, int64_t micro_batch) const;

  ExecContext& ctx_;
  PipelineLinks links_;
  PipelineSchedule schedule_;
  int64_t num_stages_, stage_;
  std::vector<PipelineChunk> chunks_;
  std::map<std::pair<int64_t, int64_t>, Flight> flights_;  // by (chunk, micro-batch)
  std::vector<Work> sends_;                                // of this step
};

}  // namespace nemo
