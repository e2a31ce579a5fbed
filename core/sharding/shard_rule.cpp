#include "core/sharding/shard_rule.h"

#include "core/error.h"

namespace nemo {
namespace {

std::string_view pattern_of(const ShardRule& rule) {
  return rule.parameter;
}
std::string_view pattern_of(const ModuleRule& rule) {
  return rule.module;
}

template <class Rule>
const Rule& only_rule_for(std::span<const Rule> rules, std::string_view name) {
  const Rule* found = nullptr;
  for (const Rule& rule : rules) {
    if (!matches(pattern_of(rule), name)) continue;
    if (found != nullptr)
      throw PlanError{"sharding", std::string(name),
                      "matches two rules: " + std::string(pattern_of(*found)) + " and " + std::string(pattern_of(rule)),
                      "keep one of them in the model's sharding table"};
    found = &rule;
  }
  if (found == nullptr)
    throw PlanError{"sharding", std::string(name), "matches no rule", "add it to the model's sharding table"};
  return *found;
}

// The first part of a dotted name, which `name` then no longer has.
std::string_view take_part(std::string_view& name) {
  const size_t dot = name.find('.');
  const std::string_view part = name.substr(0, dot);
  name = dot == std::string_view::npos ? std::string_view() : name.substr(dot + 1);
  return part;
}

}  // namespace

bool matches(std::string_view pattern, std::string_view name) {
  while (!pattern.empty() && !name.empty()) {
    const std::string_view wanted = take_part(pattern), part = take_part(name);
    if (wanted != "*" && wanted != part) return false;
  }
  return pattern.empty() && name.empty();
}

const ShardRule& rule_for(std::span<const ShardRule> rules, std::string_view parameter) {
  return only_rule_for(rules, parameter);
}

const ModuleRule& rule_for(std::span<const ModuleRule> rules, std::string_view module) {
  return only_rule_for(rules, module);
}

}  // namespace nemo
