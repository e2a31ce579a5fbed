// Two-way tables between our parameter names and another project's, as data: renamed, transposed, fused and stacked
// tensors. They serve weights, gradients and optimizer moments alike. Not here: the tables
// (models/<family>/checkpoint_names.cpp).
#pragma once
#include <string>
#include <string_view>

#include "core/checkpoint/safetensors_set.h"
#include "core/checkpoint/strided_copy.h"

namespace nemo {

// A '*' stands for a number. Rules of one table that name the same tensor of theirs are its parts, joined along our dim
// 0 in the order listed (a fused q|k|v). Where `file` has one '*' more than `ours`, our dim 0 is stacked from their
// tensors; where it has one less, theirs is stacked along a new dim 0 from ours (experts).
struct NameRule {
  std::string_view ours;
  std::string_view file;         // the name in files
  std::string_view module = {};  // the name in their module tree (gradients), where that differs
  bool transpose = false;        // their matrices are [in, out], ours [out, in]
};

// A tensor of theirs that some files repeat and we keep once; its bytes must equal those of `same_as`.
struct TiedName {
  std::string_view file, same_as;
};

struct NameTable {
  std::span<const NameRule> rules;
  std::string_view prefix = {};  // some files leave it away, all at once
  std::span<const TiedName> tied = {};
  std::span<const std::string_view> ignored = {};  // buffers that are no parameters; '*' stands for any text
};

enum class Dialect { file, bare_file, module };  // bare_file: without the prefix

struct NamedShape {
  std::string name;
  std::vector<int64_t> shape;
};

// One tensor of theirs and the tensors of ours that it holds.
struct TheirTensor {
  struct Part {
    size_t ours;       // place in the list of our tensors
    StridedCopy copy;  // from theirs to ours; reversed() for export
  };
  std::string name;
  std::vector<int64_t> shape;
  std::vector<Part> parts;
};

// Which tensors of theirs hold ours, in the order of ours. CheckpointError where one of ours matches no rule or two.
std::vector<TheirTensor> map_names(const NameTable& table, std::span<const NamedShape> ours, Dialect dialect);

struct ImportPlan {
  Dialect dialect;
  std::vector<TheirTensor> tensors;
};

// Reading a set of files into our tensors. One CheckpointError lists every tensor that is missing, unexpected, of the
// wrong shape or not of floating point.
ImportPlan plan_import(const NameTable& table, std::span<const NamedShape> ours, const SafetensorsSet& set);

}  // namespace nemo
