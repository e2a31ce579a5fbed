#include "core/autograd/tape.h"

#include <algorithm>
#include <iterator>

#include "core/error.h"
#include "core/exec_context.h"
#include "core/ops/elementwise.h"

namespace nemo {

struct Tape::Node {
  std::string_view op;
  std::vector<uint64_t> inputs, outputs;
  std::vector<bool> input_tracked;
  std::vector<ParameterSpan> params;
  std::vector<SavedTensor> saved;
  std::function<std::vector<Tensor>(Backward&)> grad_input;
  std::function<void(Backward&, const std::vector<GradientSlot>&)> grad_weight;
  std::function<std::vector<Tensor>(Backward&, const std::vector<GradientSlot>&)> grad_input_and_weight;
  Recompute forward;                        // regions
  std::string block;                        // marks: the block that begins or ends here; regions: the last one inside
  enum class Kind : uint8_t { op, region, block_begin, block_end } kind = Kind::op;
};

Tape::Tape() = default;
Tape::~Tape() = default;

size_t Tape::num_records() const { return nodes_.size(); }

void Tape::watch(const Tensor& value) {
  tracked_.insert(value.id());
  watched_.insert(value.id());
}

void Tape::record(ExecContext& ctx, OpRecord record) {
  Node node;
  bool wanted = false;
  for (const Tensor& input : record.inputs) {
    const bool tracked = input.defined() && tracks(input);
    node.inputs.push_back(input.defined() ? input.id() : 0);
    node.input_tracked.push_back(tracked);
    wanted |= tracked;
  }
  for (const ParameterSpan& span : record.params) wanted |= span.defined() && span.trainable();
  if (!wanted) return;
  for (const Tensor& output : record.outputs) {
    node.outputs.push_back(output.id());
    tracked_.insert(output.id());
  }
  if (in_region_) return;
  for (const Tensor& saved : record.saved) node.saved.push_back(saved_.keep(ctx, saved));
  node.op = record.op;
  node.params = std::move(record.params);
  node.grad_input = std::move(record.grad_input);
  node.grad_weight = std::move(record.grad_weight);
  node.grad_input_and_weight = std::move(record.grad_input_and_weight);
  nodes_.push_back(std::move(node));
}

void Tape::enter_block(ExecContext& ctx, const std::string& block) {
  const auto& entering = block == turning_block_ ? block_hooks_.before_backward : block_hooks_.before_forward;
  if (entering) entering(ctx, block);
  last_block_ = block;
  if (in_region_) return;
  Node mark;
  mark.block = block;
  mark.kind = Node::Kind::block_begin;
  nodes_.push_back(std::move(mark));
}

void Tape::leave_block(ExecContext& ctx, const std::string& block) {
  if (block == turning_block_) return;
  if (!in_region_) {
    Node mark;
    mark.block = block;
    mark.kind = Node::Kind::block_end;
    nodes_.push_back(std::move(mark));
  }
  if (block_hooks_.after_forward) block_hooks_.after_forward(ctx, block);
}

std::vector<Tensor> Tape::checkpoint(ExecContext& ctx, const std::vector<Tensor>& inputs, Recompute forward) {
  if (in_region_) return forward(ctx, inputs);
  last_block_.clear();
  in_region_ = true;
  std::vector<Tensor> outputs = forward(ctx, inputs);
  in_region_ = false;
  if (std::ranges::none_of(outputs, [this](const Tensor& output) { return tracks(output); })) return outputs;
  Node node;
  node.kind = Node::Kind::region;
  node.block = last_block_;
  for (const Tensor& input : inputs) {
    node.inputs.push_back(input.id());
    node.input_tracked.push_back(tracks(input));
    node.saved.push_back(saved_.keep(ctx, input));
  }
  for (const Tensor& output : outputs) node.outputs.push_back(output.id());
  node.forward = std::move(forward);
  nodes_.push_back(std::move(node));
  return outputs;
}

void Tape::make_again(ExecContext& ctx, const std::vector<Tensor>& values, const std::vector<Tensor>& from, Recompute make) {
  if (!in_region_) saved_.make_again(ctx, values, from, std::move(make));
}

void make_again(ExecContext& ctx, const std::vector<Tensor>& values, const std::vector<Tensor>& from, Recompute make) {
  if (ctx.tape() != nullptr) ctx.tape()->make_again(ctx, values, from, std::move(make));
}

void Tape::add_gradient(ExecContext& ctx, uint64_t id, Tensor gradient) {
  auto [it, first] = gradients_.try_emplace(id, gradient);
  if (first || !gradient.defined()) return;
  Tensor sum = std::move(it->second);
  it->second = sum.defined() ? add_gradients(ctx, std::move(sum), std::move(gradient)) : std::move(gradient);
}

void Tape::backward(ExecContext& ctx, const std::vector<std::pair<Tensor, Tensor>>& outputs) {
  for (const auto& [value, gradient] : outputs)
    if (tracks(value)) add_gradient(ctx, value.id(), gradient);
  walk_back(ctx);
}

void Tape::walk_back(ExecContext& ctx) {
  Tape* const outer = ctx.tape();
  ctx.set_tape(nullptr);  // derivatives are not recorded
  saved_.forget_values();
  while (!nodes_.empty()) {
    Node node = std::move(nodes_.back());
    nodes_.pop_back();
    switch (node.kind) {
      case Node::Kind::block_end:
        if (block_hooks_.before_backward) block_hooks_.before_backward(ctx, node.block);
        break;
      case Node::Kind::block_begin:
        if (block_hooks_.after_backward) block_hooks_.after_backward(ctx, node.block);
        break;
      case Node::Kind::op: run_op(ctx, std::move(node)); break;
      case Node::Kind::region: run_region(ctx, std::move(node)); break;
    }
  }
  std::erase_if(gradients_, [this](const auto& entry) { return !watched_.contains(entry.first); });
  tracked_ = watched_;
  saved_.clear();
  ctx.set_tape(outer);
}

// The gradient of an op's output, for the op alone unless somebody outside watches it. Undefined: none has come.
Tensor Tape::take_gradient(uint64_t id) {
  auto found = gradients_.find(id);
  if (found == gradients_.end()) return {};
  if (watched_.contains(id)) return found->second;
  Tensor gradient = std::move(found->second);
  gradients_.erase(found);
  return gradient;
}

bool Tape::reached(const Node& node) const {
  return std::ranges::any_of(node.outputs, [this](uint64_t id) { return gradients_.contains(id); });
}

void Tape::run_op(ExecContext& ctx, Node node) {
  if (!reached(node)) return;
  Backward back(ctx);
  for (const uint64_t id : node.outputs) back.grad_outputs_.push_back(take_gradient(id));
  for (const SavedTensor& saved : node.saved) back.saved_.push_back(SavedTensors::restore(ctx, saved));
  node.saved.clear();

  const bool weight_wanted = node.grad_weight && std::ranges::any_of(node.params, [](const ParameterSpan& span) { return span.defined() && span.trainable(); });
  const bool input_wanted = node.grad_input && std::ranges::any_of(node.input_tracked, [](bool tracked) { return tracked; });
  const auto slots_of = [](ExecContext& ctx, const Node& node) {
    std::vector<GradientSlot> slots;
    for (const ParameterSpan& span : node.params)
      slots.push_back(span.defined() && span.trainable() ? span.gradient_slot(ctx) : GradientSlot{});
    return slots;
  };
  const bool together = node.grad_input_and_weight && weight_wanted && input_wanted && !defer_;
  if (weight_wanted && !together) {
    if (defer_) {
      auto held = std::make_shared<std::pair<Backward, Node>>(back, Node{});
      held->second.params = node.params;
      held->second.grad_weight = std::move(node.grad_weight);
      back.weight_gradient_follows_ = true;
      deferred_.push_back([slots_of, held](ExecContext& ctx) { held->second.grad_weight(held->first, slots_of(ctx, held->second)); });
    } else {
      node.grad_weight(back, slots_of(ctx, node));
    }
  }
  if (!input_wanted) return;
  std::vector<Tensor> gradients = together ? node.grad_input_and_weight(back, slots_of(ctx, node)) : node.grad_input(back);
  if (gradients.size() != node.inputs.size())
    throw ShapeError{std::string(node.op), "backward", "gave " + std::to_string(gradients.size()) + " gradients for " + std::to_string(node.inputs.size()) + " inputs"};
  back.grad_outputs_.clear();
  back.saved_.clear();
  for (size_t i = 0; i < gradients.size(); ++i)
    if (node.input_tracked[i] && gradients[i].defined()) add_gradient(ctx, node.inputs[i], std::move(gradients[i]));
}

void Tape::run_region(ExecContext& ctx, Node node) {
  if (!reached(node)) return;
  Tape again;  // packs nothing away: what it saves is read at once
  again.block_hooks_ = block_hooks_;
  again.defer_ = defer_;
  again.turning_block_ = node.block;
  {
    std::vector<Tensor> inputs;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      inputs.push_back(SavedTensors::restore(ctx, node.saved[i]));
      if (node.input_tracked[i]) again.watch(inputs[i]);
    }
    node.saved.clear();
    const Recording recording(ctx, again);
    const std::vector<Tensor> outputs = node.forward(ctx, inputs);
    for (size_t i = 0; i < outputs.size(); ++i)
      if (gradients_.contains(node.outputs[i]) && again.tracks(outputs[i])) again.add_gradient(ctx, outputs[i].id(), take_gradient(node.outputs[i]));
  }
  again.walk_back(ctx);
  for (size_t i = 0; i < node.inputs.size(); ++i)
    if (auto found = again.gradients_.find(node.inputs[i]); found != again.gradients_.end()) add_gradient(ctx, node.inputs[i], std::move(found->second));
  std::ranges::move(again.deferred_, std::back_inserter(deferred_));
}

Recording::Recording(ExecContext& ctx, Tape& tape) : ctx_(ctx), outer_(ctx.tape()) { ctx.set_tape(&tape); }
Recording::~Recording() { ctx_.set_tape(outer_); }

Tensor Tape::gradient(const Tensor& value) const {
  auto it = gradients_.find(value.id());
  return it == gradients_.end() ? Tensor() : it->second;
}

void Tape::run_deferred(ExecContext& ctx) {
  Tape* const outer = ctx.tape();
  ctx.set_tape(nullptr);
  for (auto& run : deferred_) run(ctx);
  deferred_.clear();
  ctx.set_tape(outer);
}

}  // namespace nemo
