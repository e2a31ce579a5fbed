// Writes fields out: resolved YAML that reads back to the same values, differences, and documentation of the keys.
// Not here: reading (core/config/bind.h).
#pragma once
#include <span>
#include <string>
#include <vector>

#include "core/config/field.h"

namespace nemo {

// The whole list as YAML in the list's order, one key a line. Reading it back gives bit-identical values.
std::string print_yaml(std::span<const Field> fields);

// One value as print_yaml writes it; empty for a section.
std::string value_text(const Field& field);

// One leaf of the list.
struct LeafField {
  std::string path;  // dotted
  const Field* field;
};
std::vector<LeafField> list_leaves(std::span<const Field> fields);

struct FieldDifference {
  std::string path, left, right;
};
// Leaves whose values differ. Both lists come from the same type.
std::vector<FieldDifference> diff_fields(std::span<const Field> left, std::span<const Field> right);

// For a person: "integer", "one of fp32, bf16", "number", ...; and "above 0", "0 to 1", or empty where any value goes.
std::string type_text(const Field& field);
std::string range_text(const Field& field);

}  // namespace nemo
