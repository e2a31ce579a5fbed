// A learned tensor: its name, shape, initial values, and where its value and gradient lie in the flat buffers.
// Not here: how buffers are grouped and allocated (core/nn/parameter_store.h), how a parameter may be cut (core/sharding).
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/tensor/tensor.h"

namespace nemo {

class ExecContext;
struct FlatBuffer;

struct Initializer {
  enum class Kind : uint8_t { constant, normal } kind = Kind::constant;
  float mean = 0, std = 0;  // constant: mean is the value
  static Initializer constant(float value) { return {Kind::constant, value, 0}; }
  static Initializer normal(float std) { return {Kind::normal, 0, std}; }
};

// Where a weight gradient goes: beta = 1 when accumulate, else the first write.
struct GradientSlot {
  Tensor tensor;  // undefined: frozen, nothing is wanted
  bool accumulate = false;
  bool wanted() const { return tensor.defined(); }
};

// How the ranks of the tensor axis share a slice (core/sharding/slice.h sets it).
struct TensorCopies {
  int64_t count = 1;     // consecutive ranks that hold the same slice
  bool first = true;     // this rank is the first of them: it counts the slice in norms and writes it to checkpoints
  bool partial = false;  // each has a summand of the gradient
};

struct Parameter {
  std::string name;          // canonical, e.g. layers.3.attention.wq.weight
  std::string block;         // the block it is gathered and released with
  Shape shape;               // of the local slice, padding included; set before allocation
  Shape global_shape;        // without padding: what checkpoints hold
  Shape slice_offset;        // where the slice starts in the global tensor
  TensorCopies copies;
  Initializer initializer;
  bool trainable = true;
  bool weight_decay = true;
  int fused_group = -1;      // members of a group lie adjacent and unpadded, in declaration order
  int64_t padding_rows = 0;  // last rows that stand for no vocabulary entry: zero, and in no checkpoint
  std::vector<std::string> used_by;  // blocks whose forward reads it, its own first; a tied embedding has two
  // A further pipeline stage may hold a copy (a tied embedding). Gradients are summed over the copies, which lie alone in
  // their flat buffers so that every plan cuts them alike; norms and checkpoints count the first.
  enum class Copy : uint8_t { none, first, second } copy = Copy::none;

  FlatBuffer* flat = nullptr;  // set by ParameterStore::allocate
  int64_t flat_offset = 0;     // elements
  bool gradient_written = false;

  // The part of a flat tensor (values, gradients, moments) that holds this parameter, padding rows left out.
  Tensor stored(const Tensor& flat_tensor) const;
};

// One parameter, or several members of a fused group that lie adjacent: the value is their rows stacked.
class ParameterSpan {
 public:
  ParameterSpan() = default;
  explicit ParameterSpan(Parameter& parameter) : members_{&parameter} {}
  explicit ParameterSpan(std::vector<Parameter*> members) : members_(std::move(members)) {}

  bool defined() const { return !members_.empty(); }
  std::span<Parameter* const> members() const { return members_; }
  int64_t rows() const;
  int64_t columns() const;   // 1-D parameters: 1
  Shape shape() const;       // [rows, columns], or [rows] of 1-D parameters
  bool trainable() const;
  // Resolved at use, so that a released block holds nothing. Throws DeviceError when the values are not resident.
  Tensor value(ExecContext& ctx) const;
  // The gradient's place; the first call of a step says "write", later ones "add".
  GradientSlot gradient_slot(ExecContext& ctx) const;

 private:
  std::vector<Parameter*> members_;
};

}  // namespace nemo
