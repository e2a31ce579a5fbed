#include "core/nn/parameter_store.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "core/error.h"
#include "core/exec_context.h"
#include "core/ops/copy.h"
#include "core/ops/fill.h"

namespace nemo {
namespace {

constexpr int64_t kAlignmentElements = 128;  // of every parameter or fused group in its buffer: 256 bytes of bf16

int64_t aligned(int64_t offset, int64_t unit = kAlignmentElements) { return (offset + unit - 1) / unit * unit; }

// The whole of a buffer's gradients where only the own part lasts. What lies between the members is zero, so that it adds
// nothing to norms; the members themselves are written or zeroed by others.
void lease_gradients(ExecContext& ctx, FlatBuffer& flat) {
  flat.gradients = ctx.empty({flat.numel}, flat.owned_gradients.dtype(), MemoryTag::gradients);
  int64_t end = 0;
  const auto zero_to = [&](int64_t begin) {
    if (begin > end) zero(ctx, flat.gradients.segment(end, {begin - end}));
  };
  for (Parameter* member : flat.members) {
    zero_to(member->flat_offset);
    end = member->flat_offset + member->shape.numel();
    member->gradient_written = false;
  }
  zero_to(flat.numel);
}

}  // namespace

Tensor Parameter::stored(const Tensor& flat_tensor) const {
  Shape rows = shape;
  rows[0] -= padding_rows;
  return flat_tensor.segment(flat_offset, rows);
}

int64_t ParameterSpan::rows() const {
  int64_t rows = 0;
  for (const Parameter* member : members_) rows += member->shape[0];
  return rows;
}
int64_t ParameterSpan::columns() const { return members_.front()->shape.rank() < 2 ? 1 : members_.front()->shape.numel() / members_.front()->shape[0]; }
Shape ParameterSpan::shape() const {
  Shape shape = members_.front()->shape;
  shape[0] = rows();
  return shape;
}
bool ParameterSpan::trainable() const { return members_.front()->trainable; }

Tensor ParameterSpan::value(ExecContext& ctx) const {
  const Parameter& first = *members_.front();
  if (first.flat == nullptr || !first.flat->values.defined())
    throw DeviceError{to_string(ctx.device()), first.name, "is used while its block '" + first.block + "' holds no values"};
  return first.flat->values.segment(first.flat_offset, shape());
}

GradientSlot ParameterSpan::gradient_slot(ExecContext& ctx) const {
  Parameter& first = *members_.front();
  if (!first.trainable) return {};
  if (first.flat == nullptr || !first.flat->owned_gradients.defined())
    throw DeviceError{to_string(ctx.device()), first.name, "has no gradient buffer"};
  if (!first.flat->gradients.defined()) lease_gradients(ctx, *first.flat);
  GradientSlot slot{first.flat->gradients.segment(first.flat_offset, shape()), first.gradient_written};
  for (Parameter* member : members_) member->gradient_written = true;
  return slot;
}

std::vector<std::string> FlatBuffer::used_by() const {
  std::vector<std::string> blocks;
  for (const Parameter* member : members)
    for (const std::string& block : member->used_by)
      if (std::ranges::find(blocks, block) == blocks.end()) blocks.push_back(block);
  return blocks;
}

OwnedPart owned_part(const Parameter& parameter) {
  const FlatBuffer& flat = *parameter.flat;
  const int64_t stored = parameter.shape.numel() / parameter.shape[0] * (parameter.shape[0] - parameter.padding_rows);
  const int64_t begin = std::max(parameter.flat_offset, flat.owned_begin);
  const int64_t end = std::min(parameter.flat_offset + stored, flat.owned_begin + flat.owned_numel);
  if (begin >= end) return {};
  return {.first = begin - parameter.flat_offset, .count = end - begin, .offset = begin - flat.owned_begin};
}

Parameter& ParameterStore::declare(const std::string& block, const std::string& name, const Shape& shape, Initializer initializer, int64_t padding_rows) {
  if (find(name) != nullptr) throw ShapeError{"parameter", name, "is declared twice"};
  Parameter parameter;
  parameter.name = name;
  parameter.block = block;
  parameter.used_by = {block};
  parameter.shape = parameter.global_shape = shape;
  parameter.global_shape[0] -= padding_rows;
  parameter.padding_rows = padding_rows;
  parameter.slice_offset = shape;
  for (int i = 0; i < shape.rank(); ++i) parameter.slice_offset[i] = 0;
  parameter.initializer = initializer;
  parameter.weight_decay = shape.rank() > 1;  // norms and biases are not decayed unless a recipe asks
  return parameters_.emplace_back(std::move(parameter));
}

QuantisedWeight* ParameterStore::quantised_weight(const ParameterSpan& weight) {
  if (!quantised_block_ || !quantised_block_(weight.members().front()->block)) return nullptr;
  return &quantised_weights_.emplace_back(QuantisedWeight{.weight = weight, .copy = {}});
}

std::vector<Parameter*> ParameterStore::parameters() const {
  std::vector<Parameter*> all;
  for (const Parameter& parameter : parameters_) all.push_back(const_cast<Parameter*>(&parameter));
  return all;
}

Parameter* ParameterStore::find(std::string_view name) const {
  for (const Parameter& parameter : parameters_)
    if (parameter.name == name) return const_cast<Parameter*>(&parameter);
  return nullptr;
}

int64_t ParameterStore::num_parameters() const {
  int64_t count = 0;
  for (const Parameter& parameter : parameters_) count += parameter.global_shape.numel();
  return count;
}

void ParameterStore::lay_out() {
  flat_buffers_.clear();
  std::map<FlatKey, FlatBuffer*> by_key;
  for (Parameter& parameter : parameters_) {
    const FlatKey key{parameter.block, parameter.trainable, parameter.weight_decay, parameter.copy == Parameter::Copy::none ? "" : parameter.name};
    FlatBuffer*& flat = by_key[key];
    if (flat == nullptr) {
      flat = &flat_buffers_.emplace_back();
      flat->key = key;
      flat->copy = parameter.copy;
    }
    const bool follows = !flat->members.empty() && parameter.fused_group >= 0 && flat->members.back()->fused_group == parameter.fused_group;
    if (!follows) flat->numel = aligned(flat->numel);
    parameter.flat = flat;
    parameter.flat_offset = flat->numel;
    flat->numel += parameter.shape.numel();
    flat->members.push_back(&parameter);
  }
  for (FlatBuffer& flat : flat_buffers_) {
    flat.numel = aligned(flat.numel, kAlignmentElements * cut_.num_shards);
    flat.owned_numel = flat.numel / cut_.num_shards;
    flat.owned_begin = flat.owned_numel * cut_.shard_index;
  }
}

void ParameterStore::allocate(ExecContext& ctx, const StoragePolicy& policy, bool gradients, const FlatCut& cut) {
  policy_ = policy;
  cut_ = cut;
  lay_out();
  for (FlatBuffer& flat : flat_buffers_) allocate(ctx, flat, gradients && flat.key.trainable);
  if (!gradients) return;
  for (QuantisedWeight& quantised : quantised_weights_) {
    const int64_t rows = quantised.weight.rows(), columns = quantised.weight.columns();
    quantised.copy = {.payload = ctx.empty({rows, columns}, DType::fp8_e4m3, MemoryTag::parameters),
                      .transposed = ctx.empty({columns, rows}, DType::fp8_e4m3, MemoryTag::parameters),
                      .scale = ctx.empty({1}, DType::fp32, MemoryTag::parameters)};
  }
}

void ParameterStore::allocate(ExecContext& ctx, FlatBuffer& flat, bool gradients) {
  // The whole where it lasts, and the own part of it; else the own part alone.
  const auto lease = [&](Tensor& whole, Tensor& owned, bool whole_lasts, DType dtype, MemoryTag tag) {
    if (whole_lasts) {
      whole = ctx.empty({flat.numel}, dtype, tag);
      owned = whole.segment(flat.owned_begin, {flat.owned_numel});
    } else {
      owned = ctx.empty({flat.owned_numel}, dtype, tag);
    }
    zero(ctx, whole_lasts ? whole : owned);
  };
  lease(flat.values, flat.owned_values, !cut_.values, policy_.values, MemoryTag::parameters);
  if (!gradients) return;
  if (policy_.master) {
    flat.master = ctx.empty({flat.owned_numel}, DType::fp32, MemoryTag::optimizer);
    zero(ctx, flat.master);
  }
  lease(flat.gradients, flat.owned_gradients, !cut_.gradients, policy_.gradients, MemoryTag::gradients);
}

// Draws the rows that hold the own part, and keeps that part.
void ParameterStore::fill_owned(ExecContext& ctx, const Parameter& parameter, const Tensor& owned, uint64_t seed) const {
  const OwnedPart part = owned_part(parameter);
  const int64_t columns = parameter.shape.numel() / parameter.shape[0];
  const int64_t first_row = part.first / columns, end_row = (part.first + part.count + columns - 1) / columns;
  Parameter rows = parameter;
  rows.slice_offset[0] += first_row;
  Shape shape = parameter.shape;
  shape[0] = end_row - first_row;
  const Tensor drawn = ctx.empty(shape, owned.dtype(), MemoryTag::workspace);
  fill(ctx, drawn, rows, seed);
  copy(ctx, owned.segment(part.offset, {part.count}), drawn.segment(part.first - first_row * columns, {part.count}));
}

void ParameterStore::initialise(ExecContext& ctx, uint64_t seed) {
  for (Parameter& parameter : parameters_) {
    const FlatBuffer& flat = *parameter.flat;
    const OwnedPart part = owned_part(parameter);
    if (flat.values.defined() && !flat.master.defined()) {
      fill(ctx, parameter.stored(flat.values), parameter, seed);
    } else if (flat.values.defined()) {
      const Tensor value = parameter.stored(flat.values);
      const Tensor drawn = cut_.num_shards == 1 ? parameter.stored(flat.master) : ctx.empty(value.shape(), DType::fp32, MemoryTag::workspace);
      fill(ctx, drawn, parameter, seed);
      convert(ctx, value, drawn);
      if (cut_.num_shards > 1 && part.count > 0) copy(ctx, flat.master.segment(part.offset, {part.count}), drawn.segment(part.first, {part.count}));
    } else if (part.count > 0) {
      fill_owned(ctx, parameter, flat.master.defined() ? flat.master : flat.owned_values, seed);
      if (flat.master.defined()) convert(ctx, flat.owned_values.segment(part.offset, {part.count}), flat.master.segment(part.offset, {part.count}));
    }
  }
}

void ParameterStore::write(ExecContext& ctx, Parameter& parameter, const float* values) {
  const FlatBuffer& flat = *parameter.flat;
  const OwnedPart part = owned_part(parameter);
  if (flat.values.defined()) write_fp32(ctx, parameter.stored(flat.values), values);
  if (part.count == 0) return;
  if (!flat.values.defined()) write_fp32(ctx, flat.owned_values.segment(part.offset, {part.count}), values + part.first);
  if (flat.master.defined()) write_fp32(ctx, flat.master.segment(part.offset, {part.count}), values + part.first);
}

std::vector<float> ParameterStore::read(ExecContext& ctx, const Parameter& parameter) const {
  return read_fp32(ctx, parameter.stored(parameter.flat->values));
}

std::vector<float> ParameterStore::read_gradient(ExecContext& ctx, const Parameter& parameter) const {
  return read_fp32(ctx, parameter.stored(parameter.flat->gradients));
}

void ParameterStore::begin_step() {
  for (Parameter& parameter : parameters_) parameter.gradient_written = false;
  for (QuantisedWeight& quantised : quantised_weights_) quantised.current = false;
}

std::vector<bool> ParameterStore::gradients_written() const {
  std::vector<bool> written;
  for (const Parameter& parameter : parameters_) written.push_back(parameter.gradient_written);
  return written;
}

void ParameterStore::set_gradients_written(const std::vector<bool>& written) {
  for (size_t i = 0; i < written.size(); ++i) parameters_[i].gradient_written = written[i];
}

void ParameterStore::zero_unwritten(ExecContext& ctx) {
  if (cut_.gradients) return;
  for (FlatBuffer& flat : flat_buffers_)
    if (flat.key.trainable) zero_unwritten(ctx, flat);
}

void ParameterStore::zero_unwritten(ExecContext& ctx, FlatBuffer& flat) {
  if (!flat.gradients.defined()) lease_gradients(ctx, flat);
  for (Parameter* member : flat.members) {
    if (!member->gradient_written) zero(ctx, flat.gradients.segment(member->flat_offset, member->shape));
    member->gradient_written = true;
  }
}

void ParameterStore::release_gradients(FlatBuffer& flat) {
  if (cut_.gradients) flat.gradients = Tensor();
}

}  // namespace nemo
