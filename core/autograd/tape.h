// The record of a forward pass, and its walk backwards.
// Not here: the derivatives themselves (beside each op in core/ops). A tape belongs to one (micro-batch, stage chunk).
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/autograd/saved_tensor.h"
#include "core/nn/parameter.h"
#include "core/tensor/tensor.h"

namespace nemo {

class ExecContext;
class Backward;

struct OpRecord {
  std::string_view op;
  std::vector<Tensor> inputs = {};       // values that a gradient may be wanted for
  std::vector<ParameterSpan> params = {};
  std::vector<Tensor> saved = {};        // all that is kept for the backward: nothing hides in a lambda
  std::vector<Tensor> outputs = {};
  std::function<std::vector<Tensor>(Backward&)> grad_input = {};                        // one per input
  std::function<void(Backward&, const std::vector<GradientSlot>&)> grad_weight = {};    // one slot per params entry
  // Where one pass serves both: called instead of the two when both are wanted now. Must give their bits.
  std::function<std::vector<Tensor>(Backward&, const std::vector<GradientSlot>&)> grad_input_and_weight = {};
};

// Called around each block (core/nn/block.h) in forward and, reversed, in backward. A checkpointed region runs its blocks
// forward once more in the backward, with the forward hooks again; but its last block, where it turns round, is entered by
// before_backward and left by after_backward alone, so that nothing is released in between.
struct BlockHooks {
  std::function<void(ExecContext&, const std::string& block)> before_forward, after_forward, before_backward, after_backward;
};

// What a derivative sees.
class Backward {
 public:
  ExecContext& ctx() const { return ctx_; }
  const Tensor& grad_output(size_t index) const { return grad_outputs_[index]; }  // undefined: that output was not used
  const Tensor& saved(size_t index) const { return saved_[index]; }
  // Hands the caller the handle itself; when it is then sole_owner() the memory may be overwritten.
  Tensor take_grad_output(size_t index) { return std::move(grad_outputs_[index]); }
  Tensor take_saved(size_t index) { return std::move(saved_[index]); }
  // The weight gradient of this op runs later and still reads its gradients and saved tensors: nothing may be overwritten.
  bool weight_gradient_follows() const { return weight_gradient_follows_; }

 private:
  friend class Tape;
  explicit Backward(ExecContext& ctx) : ctx_(ctx) {}
  ExecContext& ctx_;
  std::vector<Tensor> grad_outputs_, saved_;
  bool weight_gradient_follows_ = false;
};

class Tape {
 public:
  Tape();
  ~Tape();
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  void set_saved_tensor_hooks(SavedTensorHooks hooks) { saved_.set_hooks(std::move(hooks)); }
  void set_block_hooks(BlockHooks hooks) { block_hooks_ = std::move(hooks); }
  // Weight gradients are kept back until run_deferred (zero-bubble schedules, overlap).
  void defer_weight_gradients(bool defer) { defer_ = defer; }

  // Gradients of this value are wanted: a stage's input. Read them with gradient() after backward().
  void watch(const Tensor& value);
  void record(ExecContext& ctx, OpRecord record);
  void enter_block(ExecContext& ctx, const std::string& block);
  void leave_block(ExecContext& ctx, const std::string& block);

  // forward(inputs), of which the inputs alone are kept: the backward runs it again, recording, and then walks back through
  // that. It must not form gradients or add to the step's loss; weight gradients it leads to are formed once, as always.
  std::vector<Tensor> checkpoint(ExecContext& ctx, const std::vector<Tensor>& inputs, Recompute forward);
  // See SavedTensors::make_again; called before an op saves one of the values.
  void make_again(ExecContext& ctx, const std::vector<Tensor>& values, const std::vector<Tensor>& from, Recompute make);

  // Walks back from the given values. An undefined gradient means that the op that made the value knows it (a loss whose
  // token weights were known in the forward). The tape is empty afterwards, but for deferred weight gradients.
  void backward(ExecContext& ctx, const std::vector<std::pair<Tensor, Tensor>>& outputs);
  Tensor gradient(const Tensor& value) const;  // of a watched value; undefined when nothing reached it
  void run_deferred(ExecContext& ctx);
  size_t num_records() const;

  bool tracks(const Tensor& value) const { return tracked_.contains(value.id()); }

 private:
  struct Node;

  void add_gradient(ExecContext& ctx, uint64_t id, Tensor gradient);
  Tensor take_gradient(uint64_t id);
  void walk_back(ExecContext& ctx);
  bool reached(const Node& node) const;
  void run_op(ExecContext& ctx, Node node);
  void run_region(ExecContext& ctx, Node node);

  SavedTensors saved_;
  BlockHooks block_hooks_;
  bool defer_ = false;
  bool in_region_ = false;          // a region's first forward: hooks are called and ids tracked, nothing is kept
  std::string last_block_;          // entered in that region
  std::string turning_block_;       // of the tape of a region's second forward: where it turns round
  std::vector<Node> nodes_;
  std::unordered_set<uint64_t> tracked_, watched_;
  std::unordered_map<uint64_t, Tensor> gradients_;
  std::vector<std::function<void(ExecContext&)>> deferred_;
};

// Ops record on the tape while this lives.
class Recording {
 public:
  Recording(ExecContext& ctx, Tape& tape);
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

 private:
  ExecContext& ctx_;
  Tape* outer_;
};

// For ops and models: values of this recording that the backward makes again instead of keeping. Without a tape: nothing.
void make_again(ExecContext& ctx, const std::vector<Tensor>& values, const std::vector<Tensor>& from, Recompute make);

}  // namespace nemo
