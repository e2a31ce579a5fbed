#include "core/sharding/shard_rule.h"

#include <catch2/catch.hpp>

#include "core/error.h"

using namespace nemo;
using Catch::Matchers::Equals;

TEST_CASE("a pattern's star stands for one part of a name", "[sharding]") {
  CHECK(matches("layers.*.attention.wq.weight", "layers.12.attention.wq.weight"));
  CHECK(matches("final_norm.*", "final_norm.bias"));
  CHECK(!matches("layers.*.weight", "layers.1.wq.weight"));
  CHECK(!matches("layers.*", "layers"));
  CHECK(!matches("layers", "layers.1"));
  CHECK(!matches("embedding.weight", "position_embedding.weight"));
}

TEST_CASE("every parameter has exactly one rule", "[sharding]") {
  const ShardRule rules[] = {{.parameter = "a.*.weight", .value = Shard{1}}, {.parameter = "a.b.*"}};
  CHECK(std::get<Shard>(rule_for(rules, "a.c.weight").value).dim == 1);
  CHECK_THROWS_WITH(rule_for(rules, "c.weight"),
                    Equals("sharding: c.weight: matches no rule; try: add it to the model's sharding table"));
  CHECK_THROWS_WITH(rule_for(rules, "a.b.weight"),
                    Equals("sharding: a.b.weight: matches two rules: a.*.weight and a.b.*; try: keep one of them in "
                           "the model's sharding table"));
}
