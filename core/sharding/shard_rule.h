// How a model may be cut, as data: which dimension of a parameter lies over which axis, in what pieces, and what each
// rank sees of its gradient; and where a linear layer's input and output lie.  Not here: the cutting (slice.h), ranks.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "core/sharding/axis.h"

namespace nemo {

struct Replicate {};  // every rank of the axis holds all of it
struct Shard {
  int dim = 0;
};                  // each holds an equal part of a dimension
struct Partial {};  // each holds a summand
using Placement = std::variant<Replicate, Shard, Partial>;

// The pieces of a cut that stay whole. heads: the dimension is `count` heads side by side; where the ranks outnumber
// them, consecutive ranks share one. vocabulary: rows padded at the end, padding takes no part in anything.
struct CutUnit {
  enum class Kind : uint8_t { element, heads, vocabulary } kind = Kind::element;
  int64_t count = 0;
};
constexpr CutUnit element() {
  return {};
}
constexpr CutUnit heads(int64_t count) {
  return {CutUnit::Kind::heads, count};
}
constexpr CutUnit vocabulary() {
  return {CutUnit::Kind::vocabulary, 0};
}

// What a rank that holds a value sees of the gradient.
enum class GradientPart : uint8_t {
  whole,            // all that acts on the value
  own_heads,        // only what its heads add: the sum over the holders is the gradient
  own_stream_rows,  // the same for its rows of the residual stream, where a plan cuts that over the ranks; else all
};

struct ShardRule {
  std::string_view parameter;  // name pattern: * stands for one part between dots
  Axis axis = Axis::tensor;
  Placement value = Replicate{};
  CutUnit unit = {};
  GradientPart gradient = GradientPart::whole;
};

// Of a linear layer. Columns cut: input Replicate, output Shard{1}. Rows cut: input Shard{1}, output Partial.
struct ModuleRule {
  std::string_view module;
  Axis axis = Axis::tensor;
  Placement input, output;
};

bool matches(std::string_view pattern, std::string_view name);

// The one rule for a name. PlanError where none or more than one fits.
const ShardRule& rule_for(std::span<const ShardRule> rules, std::string_view parameter);
const ModuleRule& rule_for(std::span<const ModuleRule> rules, std::string_view module);

}  // namespace nemo
