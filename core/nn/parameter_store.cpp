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

int64_t aligned(int64_t offset) { return (offset + kAlignmentElements - 1) / kAlignmentElements * kAlignmentElements; }

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
  if (first.flat == nullptr || !first.flat->gradients.defined())
    throw DeviceError{to_string(ctx.device()), first.name, "has no gradient buffer"};
  GradientSlot slot{first.flat->gradients.segment(first.flat_offset, shape()), first.gradient_written};
  for (Parameter* member : members_) member->gradient_written = true;
  return slot;
}

Parameter& ParameterStore::declare(const std::string& block, const std::string& name, const Shape& shape, Initializer initializer, int64_t padding_rows) {
  if (find(name) != nullptr) throw ShapeError{"parameter", name, "is declared twice"};
  Parameter parameter;
  parameter.name = name;
  parameter.block = block;
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
    const FlatKey key{parameter.block, parameter.trainable, parameter.weight_decay};
    FlatBuffer*& flat = by_key[key];
    if (flat == nullptr) {
      flat = &flat_buffers_.emplace_back();
      flat->key = key;
    }
    const bool follows = !flat->members.empty() && parameter.fused_group >= 0 && flat->members.back()->fused_group == parameter.fused_group;
    if (!follows) flat->numel = aligned(flat->numel);
    parameter.flat = flat;
    parameter.flat_offset = flat->numel;
    flat->numel += parameter.shape.numel();
    flat->members.push_back(&parameter);
  }
  for (FlatBuffer& flat : flat_buffers_) flat.numel = aligned(flat.numel);
}

void ParameterStore::allocate(ExecContext& ctx, const StoragePolicy& policy, bool gradients) {
  policy_ = policy;
  lay_out();
  for (FlatBuffer& flat : flat_buffers_) {
    flat.values = ctx.empty({flat.numel}, policy.values, MemoryTag::parameters);
    zero(ctx, flat.values);
    if (!flat.key.trainable || !gradients) continue;
    if (policy.master) {
      flat.master = ctx.empty({flat.numel}, DType::fp32, MemoryTag::optimizer);
      zero(ctx, flat.master);
    }
    flat.gradients = ctx.empty({flat.numel}, policy.gradients, MemoryTag::gradients);
    zero(ctx, flat.gradients);
  }
  if (!gradients) return;
  for (QuantisedWeight& quantised : quantised_weights_) {
    const int64_t rows = quantised.weight.rows(), columns = quantised.weight.columns();
    quantised.copy = {.payload = ctx.empty({rows, columns}, DType::fp8_e4m3, MemoryTag::parameters),
                      .transposed = ctx.empty({columns, rows}, DType::fp8_e4m3, MemoryTag::parameters),
                      .scale = ctx.empty({1}, DType::fp32, MemoryTag::parameters)};
  }
}

void ParameterStore::initialise(ExecContext& ctx, uint64_t seed) {
  for (Parameter& parameter : parameters_) {
    const FlatBuffer& flat = *parameter.flat;
    const Tensor value = parameter.stored(flat.values);
    if (!flat.master.defined()) {
      fill(ctx, value, parameter, seed);
    } else {
      const Tensor master = parameter.stored(flat.master);
      fill(ctx, master, parameter, seed);
      convert(ctx, value, master);
    }
  }
}

void ParameterStore::write(ExecContext& ctx, Parameter& parameter, const float* values) {
  const FlatBuffer& flat = *parameter.flat;
  write_fp32(ctx, parameter.stored(flat.values), values);
  if (flat.master.defined()) write_fp32(ctx, parameter.stored(flat.master), values);
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

void ParameterStore::zero_unwritten(ExecContext& ctx) {
  for (Parameter& parameter : parameters_) {
    if (!parameter.trainable || parameter.gradient_written) continue;
    zero(ctx, parameter.flat->gradients.segment(parameter.flat_offset, parameter.shape));
    parameter.gradient_written = true;
  }
}

}  // namespace nemo
