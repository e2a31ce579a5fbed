#include "core/config/node.h"

#include <catch2/catch.hpp>

#include "core/error.h"

using namespace nemo;

namespace {

ConfigNode parse(const std::string& text) {
  return parse_yaml(text, {.kind = Origin::Kind::recipe, .file = "r.yaml", .line = 0});
}

const ConfigNode& at(const ConfigNode& tree, std::initializer_list<const char*> path) {
  const ConfigNode* node = &tree;
  for (const char* key : path) {
    node = node->find(key);
    REQUIRE(node != nullptr);
  }
  return *node;
}

}  // namespace

TEST_CASE("every value knows its line", "[config]") {
  const ConfigNode tree = parse("# comment\nmodel:\n  num_layers: 4\n\n  list: [a,\n    b]\noptim: {lr: 1e-3}\n");
  CHECK(at(tree, {"model"}).origin.place() == "r.yaml:2");
  CHECK(at(tree, {"model", "num_layers"}).origin.place() == "r.yaml:3");
  CHECK(at(tree, {"model", "list"}).items[1].origin.place() == "r.yaml:6");
  CHECK(at(tree, {"optim", "lr"}).text == "1e-3");
  CHECK(at(tree, {"optim", "lr"}).origin.place() == "r.yaml:7");
  CHECK(tree.find("nothing") == nullptr);
}

TEST_CASE("null, quoted and plain scalars are told apart", "[config]") {
  const ConfigNode tree = parse("a:\nb: null\nc: ~\nd: \"null\"\ne: 12\nf: '12'\ng: \"\"\n");
  for (const char* key : {"a", "b", "c"}) CHECK(at(tree, {key}).kind == ConfigNode::Kind::null);
  CHECK(at(tree, {"d"}).describe() == "\"null\"");
  CHECK(at(tree, {"e"}).describe() == "12");
  CHECK(at(tree, {"f"}).describe() == "\"12\"");
  CHECK(at(tree, {"g"}).kind == ConfigNode::Kind::scalar);
}

TEST_CASE("bad YAML is refused with its place", "[config]") {
  CHECK_THROWS_WITH(parse("a: 1\nb: [1, 2\n"), Catch::StartsWith("r.yaml:") && Catch::Contains("not valid YAML"));
  CHECK_THROWS_WITH(parse("model:\n  a: 1\n  b: 2\n  a: 3\n"),
                    "r.yaml:4: a: given twice, first at r.yaml:2; try: remove one of the two");
  CHECK_THROWS_WITH(parse("x: &x {a: 1}\ny:\n  <<: *x\n"),
                    "r.yaml:3: <<: merge keys are not supported; try: inherit with base: RECIPE");
  CHECK_THROWS_WITH(parse("? [a, b]\n: 1\n"), Catch::Contains("a key must be a word"));
  CHECK_THROWS_WITH(parse(std::string((4 << 20) + 1, ' ')), "r.yaml: too large for a recipe (4194305 bytes)");
}

TEST_CASE("a small file that multiplies itself is refused", "[config]") {
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 9; ++i) {
    const std::string inner = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + inner;
    for (int j = 1; j < 10; ++j) bomb += ", " + inner;
    bomb += "]\n";
  }
  CHECK_THROWS_WITH(parse(bomb), Catch::Contains("too many or too deeply nested values for a recipe"));
  CHECK_THROWS_WITH(parse("a: " + std::string(40, '[') + std::string(40, ']')), Catch::Contains("too deeply nested"));
}

TEST_CASE("overrides become trees", "[config]") {
  const ConfigNode tree = parse_override("optim.sched.min_lr=1e-5");
  CHECK(at(tree, {"optim", "sched", "min_lr"}).text == "1e-5");
  CHECK(at(tree, {"optim", "sched", "min_lr"}).origin.place() == "command line");
  CHECK(at(parse_override("data.blend=[0.3, a, 0.7, b]"), {"data", "blend"}).items.size() == 4);
  CHECK(at(parse_override("data.text="), {"data", "text"}).kind == ConfigNode::Kind::null);
  CHECK(at(parse_override("data.text=a=b"), {"data", "text"}).text == "a=b");
  for (const char* bad : {"lr", "=1", ".lr=1", "optim.=1", "optim..lr=1", "a b=1"})
    CHECK_THROWS_WITH(parse_override(bad), "command line: " + std::string(bad) +
                                               ": not an override; try: write key.path=value, e.g. optim.lr=1e-4");
  CHECK_THROWS_WITH(parse_override("data.blend=[a"),
                    Catch::StartsWith("command line: data.blend: the value is not valid YAML: [a; try: quote it"));
}

TEST_CASE("merging joins sections and replaces the rest", "[config]") {
  ConfigNode base = parse("m: {a: 1, b: [1, 2], c: 3}\nn: {x: 1}\n");
  merge_over(base, parse("m: {b: [9], d: 4}\nn:\no: 1\n"));
  CHECK(at(base, {"m", "a"}).text == "1");
  CHECK(at(base, {"m", "b"}).items.size() == 1);
  CHECK(at(base, {"m", "d"}).text == "4");
  CHECK(at(base, {"n", "x"}).text == "1");  // an empty section takes nothing away
  CHECK(at(base, {"o"}).text == "1");
}
