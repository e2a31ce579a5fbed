#include "core/autograd/tape.h"

#include <algorithm>

#include "core/error.h"
#include "core/exec_context.h"
#include "core/ops/elementwise.h"

namespace nemo {

// A storage as the hooks keep it, or the storage itself where there are none.
struct Tape::PackedStorage {
  std::shared_ptr<Storage> plain;
  std::shared_ptr<void> packed;
  std::function<Tensor(ExecContext&, const std::shared_ptr<void>&)> unpack;
  std::weak_ptr<Storage> unpacked;  // while another reader still holds it
};

// What a reader needs to see its view of a storage again.
struct Tape::SavedTensor {
  std::shared_ptr<PackedStorage> storage;
  Tensor view;  // plain: the tensor; packed: geometry only, with the storage taken out
};

struct Tape::Node {
  std::string_view op;
  std::vector<uint64_t> inputs, outputs;
  std::vector<bool> input_tracked;
  std::vector<ParameterSpan> params;
  std::vector<SavedTensor> saved;
  std::function<std::vector<Tensor>(Backward&)> grad_input;
  std::function<void(Backward&, const std::vector<GradientSlot>&)> grad_weight;
  std::function<std::vector<Tensor>(Backward&, const std::vector<GradientSlot>&)> grad_input_and_weight;
  std::string block;                        // marks: the block that begins or ends here
  enum class Kind : uint8_t { op, block_begin, block_end } kind = Kind::op;
};

Tape::Tape() = default;
Tape::~Tape() = default;

size_t Tape::num_records() const { return nodes_.size(); }

void Tape::watch(const Tensor& value) {
  tracked_.insert(value.id());
  watched_.insert(value.id());
}

Tape::SavedTensor Tape::keep(ExecContext& ctx, const Tensor& tensor) {
  if (!saved_hooks_.pack) {
    auto plain = std::make_shared<PackedStorage>();
    return {std::move(plain), tensor};
  }
  std::shared_ptr<PackedStorage> storage = packed_[tensor.storage()->serial].lock();
  if (storage == nullptr) {
    storage = std::make_shared<PackedStorage>();
    storage->packed = saved_hooks_.pack(ctx, tensor.whole_storage());
    storage->unpack = saved_hooks_.unpack;
    packed_[tensor.storage()->serial] = storage;
  }
  return {storage, tensor.without_storage()};
}

Tensor Tape::restore(ExecContext& ctx, const SavedTensor& saved) const {
  if (saved.storage->packed == nullptr) return saved.view;
  std::shared_ptr<Storage> storage = saved.storage->unpacked.lock();
  if (storage == nullptr) {
    storage = saved.storage->unpack(ctx, saved.storage->packed).storage();
    saved.storage->unpacked = storage;
  }
  return saved.view.on_storage(std::move(storage));
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
  for (const Tensor& saved : record.saved) node.saved.push_back(saved.defined() ? keep(ctx, saved) : SavedTensor{});
  node.op = record.op;
  node.params = std::move(record.params);
  node.grad_input = std::move(record.grad_input);
  node.grad_weight = std::move(record.grad_weight);
  node.grad_input_and_weight = std::move(record.grad_input_and_weight);
  nodes_.push_back(std::move(node));
}

void Tape::enter_block(ExecContext& ctx, const std::string& block) {
  if (block_hooks_.before_forward) block_hooks_.before_forward(ctx, block);
  Node mark;
  mark.block = block;
  mark.kind = Node::Kind::block_begin;
  nodes_.push_back(std::move(mark));
}

void Tape::leave_block(ExecContext& ctx, const std::string& block) {
  Node mark;
  mark.block = block;
  mark.kind = Node::Kind::block_end;
  nodes_.push_back(std::move(mark));
  if (block_hooks_.after_forward) block_hooks_.after_forward(ctx, block);
}

void Tape::add_gradient(ExecContext& ctx, uint64_t id, Tensor gradient) {
  auto [it, first] = gradients_.try_emplace(id, gradient);
  if (first || !gradient.defined()) return;
  Tensor sum = std::move(it->second);
  it->second = sum.defined() ? add_gradients(ctx, std::move(sum), std::move(gradient)) : std::move(gradient);
}

void Tape::backward(ExecContext& ctx, const std::vector<std::pair<Tensor, Tensor>>& outputs) {
  Tape* const outer = ctx.tape();
  ctx.set_tape(nullptr);  // derivatives are not recorded
  for (const auto& [value, gradient] : outputs)
    if (tracks(value)) add_gradient(ctx, value.id(), gradient);
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
      case Node::Kind::op: run_node(ctx, std::move(node)); break;
    }
  }
  std::erase_if(gradients_, [this](const auto& entry) { return !watched_.contains(entry.first); });
  tracked_ = watched_;
  packed_.clear();
  ctx.set_tape(outer);
}

void Tape::run_node(ExecContext& ctx, Node node) {
  Backward back(ctx);
  bool reached = false;
  for (const uint64_t id : node.outputs) {
    auto it = gradients_.find(id);
    reached |= it != gradients_.end();
    back.grad_outputs_.push_back(it == gradients_.end() ? Tensor() : it->second);
    if (it != gradients_.end() && !watched_.contains(id)) gradients_.erase(it);
  }
  if (!reached) return;
  for (const SavedTensor& saved : node.saved) back.saved_.push_back(saved.storage ? restore(ctx, saved) : Tensor());
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
