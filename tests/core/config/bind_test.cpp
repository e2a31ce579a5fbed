#include "core/config/bind.h"

#include <catch2/catch.hpp>

#include "core/config/print.h"
#include "core/error.h"

using namespace nemo;

namespace {

enum class Colour : uint8_t { red, green, blue };
std::span<const std::string_view> enum_names(Colour) {
  static constexpr std::string_view kNames[] = {"red", "green", "blue"};
  return kNames;
}

struct Inner {
  double rate = 0.5;
  Colour colour = Colour::red, dark = Colour::red;

  template <class Visit>
  void fields(Visit&& visit) {
    visit("rate", rate, "a share", AtLeast{0}, Below{1});
    visit("colour", colour, "a colour");
    visit("dark", dark, "a colour of two", OneOf{"red", "blue"});
  }
};

struct Outer {
  int64_t count = 1, window = 0;
  bool flag = false;
  double number = 1;
  std::string name = "n", kind = "x", file;
  Seconds time;
  std::array<double, 2> pair = {1, 2};
  std::vector<int64_t> integers;
  std::vector<std::string> words;
  std::map<std::string, std::string> variables;
  Inner inner;

  template <class Visit>
  void fields(Visit&& visit) {
    visit("count", count, "how many", Positive{}, AtMost{100}, Alias{"number_of"}, Alias{"total"});
    visit("window", window, "a width", AtLeast{0}, Optional{});
    visit("flag", flag, "a switch");
    visit("number", number, "any number");
    visit("name", name, "any text");
    visit("kind", kind, "one of two", OneOf{"x", "y"});
    visit("file", file, "a path", Optional{});
    visit("time", time, "a time", Optional{});
    visit("pair", pair, "two numbers", Between{0, 5});
    visit("integers", integers, "integers", Positive{});
    visit("words", words, "words", Optional{});
    visit("variables", variables, "variables", Optional{});
    visit("inner", inner, "a section");
  }
};

struct Bound {
  Outer outer;
  FieldPlaces places{"r.yaml"};
  std::vector<std::string> notices;
};

Bound bind_yaml(const std::string& yaml) {
  Bound bound;
  ConfigNode tree = parse_yaml(yaml, {.kind = Origin::Kind::recipe, .file = "r.yaml", .line = 0});
  const std::vector<Field> fields = list_fields(bound.outer);
  check_keys(tree, fields, bound.notices);
  bind_fields(tree, fields, bound.places);
  return bound;
}

}  // namespace

TEST_CASE("each kind of field takes its value", "[config]") {
  const Bound bound = bind_yaml(R"(
count: 7
window: 128
flag: true
number: -2.5e-3
name: some text
kind: y
file: /a/b
time: "01:00:30"
pair: [0, 4.5]
integers: [1, 2, 3]
words: [a, "b c", 12]
variables: {A: b, C: 1}
inner: {rate: 0.25, colour: blue, dark: blue}
)");
  CHECK(bound.outer.count == 7);
  CHECK(bound.outer.window == 128);
  CHECK(bound.outer.flag);
  CHECK(bound.outer.number == -2.5e-3);
  CHECK(bound.outer.name == "some text");
  CHECK(bound.outer.kind == "y");
  CHECK(bound.outer.file == "/a/b");
  CHECK(bound.outer.time.value == 3630);
  CHECK(bound.outer.pair == std::array<double, 2>{0, 4.5});
  CHECK(bound.outer.integers == std::vector<int64_t>{1, 2, 3});
  CHECK(bound.outer.words == std::vector<std::string>{"a", "b c", "12"});
  CHECK(bound.outer.variables == std::map<std::string, std::string>{{"A", "b"}, {"C", "1"}});
  CHECK(bound.outer.inner.rate == 0.25);
  CHECK(bound.outer.inner.colour == Colour::blue);
  CHECK(bound.outer.inner.dark == Colour::blue);
  CHECK(bound.places.where("inner.rate") == "r.yaml:14");
  CHECK(bound.places.section("inner").where("rate") == "r.yaml:14");
  CHECK(bound.places.section("inner").subject("rate") == "inner.rate");
  CHECK(bound.notices.empty());
}

TEST_CASE("what is not written keeps its default, and null empties what is optional", "[config]") {
  const Bound bound = bind_yaml("window: null\nfile:\ntime: ~\nwords: null\nvariables: null\ninner:\n");
  CHECK(bound.outer.count == 1);
  CHECK(bound.outer.pair == std::array<double, 2>{1, 2});
  CHECK(bound.outer.file.empty());
  CHECK(bound.outer.inner.rate == 0.5);
  CHECK(bound.places.origin("count").kind == Origin::Kind::default_value);
  CHECK(bound.places.where("count") == "r.yaml");
  CHECK_NOTHROW(bind_yaml(""));
}

TEST_CASE("times", "[config]") {
  CHECK(bind_yaml("time: 90").outer.time.value == 90);
  CHECK(bind_yaml("time: 1.5").outer.time.value == 1.5);
  CHECK(bind_yaml("time: 10:30").outer.time.value == 630);
  CHECK(bind_yaml("time: 00:30:00").outer.time.value == 1800);
  CHECK(bind_yaml("time: 1:02:03:04").outer.time.value == 93784);
  for (const char* bad : {"soon", "1:2:3:4:5", "1::2", ":", "-5", "1:-5"})
    CHECK_THROWS_WITH(bind_yaml("time: '" + std::string(bad) + "'"),
                      "r.yaml:1: time: needs a time, found \"" + std::string(bad) +
                          "\"; try: write HH:MM:SS, DD:HH:MM:SS or seconds");
}

TEST_CASE("wrong types say what was found", "[config]") {
  CHECK_THROWS_WITH(bind_yaml("count: many"), "r.yaml:1: count: needs an integer, found \"many\"");
  CHECK_THROWS_WITH(bind_yaml("\ncount: 2e1"), "r.yaml:2: count: needs an integer, found 2e1; try: write 20");
  CHECK_THROWS_WITH(bind_yaml("count: 2.5"), "r.yaml:1: count: needs an integer, found 2.5");
  CHECK_THROWS_WITH(bind_yaml("count: '2'"), "r.yaml:1: count: needs an integer, found \"2\"; try: remove the quotes");
  CHECK_THROWS_WITH(bind_yaml("count: 99999999999999999999"),
                    "r.yaml:1: count: needs an integer, found 99999999999999999999");
  CHECK_THROWS_WITH(bind_yaml("count: [1]"), "r.yaml:1: count: needs an integer, found a list");
  CHECK_THROWS_WITH(bind_yaml("count: null"), "r.yaml:1: count: needs an integer, found null");
  CHECK_THROWS_WITH(bind_yaml("number: fast"), "r.yaml:1: number: needs a number, found \"fast\"");
  CHECK_THROWS_WITH(bind_yaml("number: .inf"), "r.yaml:1: number: needs a number, found \".inf\"");
  CHECK_THROWS_WITH(bind_yaml("number: 1e999"), "r.yaml:1: number: needs a number, found 1e999");
  CHECK_THROWS_WITH(bind_yaml("flag: yes"), "r.yaml:1: flag: needs true or false, found \"yes\"; try: write true");
  CHECK_THROWS_WITH(bind_yaml("flag: 0"), "r.yaml:1: flag: needs true or false, found 0; try: write false");
  CHECK_THROWS_WITH(bind_yaml("name: {a: 1}"), "r.yaml:1: name: needs text, found a section");
  CHECK_THROWS_WITH(bind_yaml("inner: 3"), "r.yaml:1: inner: needs a section, found 3");
  CHECK_THROWS_WITH(bind_yaml("words: a"), "r.yaml:1: words: needs a list, found \"a\"; try: write [a]");
  CHECK_THROWS_WITH(bind_yaml("integers: [1,\n  b]"), "r.yaml:2: integers[1]: needs an integer, found \"b\"");
  CHECK_THROWS_WITH(bind_yaml("pair: [1, 2, 3]"), "r.yaml:1: pair: needs two numbers, found 3");
  CHECK_THROWS_WITH(bind_yaml("variables: [a]"), "r.yaml:1: variables: needs NAME: value pairs, found a list");
  CHECK_THROWS_WITH(bind_yaml("[a, b]"), "r.yaml:1: a recipe needs sections, found a list; try: start with `model:`");
}

TEST_CASE("constraints", "[config]") {
  CHECK_THROWS_WITH(bind_yaml("count: 0"), "r.yaml:1: count: must be above 0 and at most 100, found 0");
  CHECK_THROWS_WITH(bind_yaml("count: 101"), "r.yaml:1: count: must be above 0 and at most 100, found 101");
  CHECK_THROWS_WITH(bind_yaml("window: -1"), "r.yaml:1: window: must be at least 0, found -1");
  CHECK_THROWS_WITH(bind_yaml("inner: {rate: 1}"), "r.yaml:1: inner.rate: must be at least 0 and below 1, found 1");
  CHECK_THROWS_WITH(bind_yaml("pair: [1, 6]"), "r.yaml:1: pair[1]: must be at least 0 and at most 5, found 6");
  CHECK_THROWS_WITH(bind_yaml("integers: [0]"), "r.yaml:1: integers[0]: must be above 0, found 0");
  CHECK_THROWS_WITH(bind_yaml("kind: z"), "r.yaml:1: kind: needs one of x, y, found \"z\"");
  CHECK_THROWS_WITH(bind_yaml("inner: {colour: gren}"),
                    "r.yaml:1: inner.colour: needs one of red, green, blue, found \"gren\"; try: green");
  CHECK_THROWS_WITH(bind_yaml("inner: {dark: green}"), "r.yaml:1: inner.dark: needs one of red, blue, found \"green\"");
}

TEST_CASE("an unknown key names the nearest", "[config]") {
  CHECK_THROWS_WITH(bind_yaml("cuont: 1"), "r.yaml:1: cuont: unknown key; try: count");
  CHECK_THROWS_WITH(bind_yaml("inner:\n  colur: red"), "r.yaml:2: inner.colur: unknown key; try: colour");
  CHECK_THROWS_WITH(bind_yaml("inner:\n  window: 3"), "r.yaml:2: inner.window: unknown key; try: window");
  CHECK_THROWS_WITH(bind_yaml("rate: 3"), "r.yaml:1: rate: unknown key; try: inner.rate");
  CHECK_THROWS_WITH(bind_yaml("inner:\n  zzzz: 3"),
                    "r.yaml:2: inner.zzzz: unknown key; try: one of rate, colour, dark");
}

TEST_CASE("aliases are read and reported once", "[config]") {
  const Bound bound = bind_yaml("total: 5");
  CHECK(bound.outer.count == 5);
  CHECK(bound.notices == std::vector<std::string>{"r.yaml:1: total is read as count"});
  CHECK_THROWS_WITH(bind_yaml("count: 1\ntotal: 5"),
                    "r.yaml:2: total: another name of count, which is given at r.yaml:1; try: remove one of the two");
  CHECK_THROWS_WITH(bind_yaml("number_of: 1\ntotal: 5"),
                    "r.yaml:2: total: another name of count, which is given at r.yaml:1; try: remove one of the two");
}

TEST_CASE("print writes what bind reads back, to the bit", "[config]") {
  Outer outer;
  outer.number = 0.1 + 0.2;
  outer.name = "12";
  outer.file = "a: \"b\"\\c\n\t\x01 # d";
  outer.time = {1800};
  outer.pair = {1.0 / 3, 5e-324};
  outer.words = {"null", "true", "-", "", "a,b", "plain/path.bin", "no", "1e5", ".5"};
  outer.variables = {{"A B", "x: y"}, {"C", ""}};
  outer.inner.colour = Colour::green;
  const std::string yaml = print_yaml(list_fields(outer));
  Outer again = bind_yaml(yaml).outer;
  CHECK(print_yaml(list_fields(again)) == yaml);
  CHECK(again.number == outer.number);
  CHECK(again.name == outer.name);
  CHECK(again.file == outer.file);
  CHECK(again.pair == outer.pair);
  CHECK(again.words == outer.words);
  CHECK(again.variables == outer.variables);
  CHECK(again.inner.colour == Colour::green);
  CHECK(again.window == 0);
  CHECK(yaml.find("window: null\n") != yaml.npos);
  CHECK(yaml.find("time: \"00:30:00\"\n") != yaml.npos);
}

TEST_CASE("differences and documentation come from the same list", "[config]") {
  Outer left, right;
  right.count = 9;
  right.inner.colour = Colour::blue;
  const auto differences = diff_fields(list_fields(left), list_fields(right));
  REQUIRE(differences.size() == 2);
  CHECK(differences[0].path == "count");
  CHECK(differences[0].left == "1");
  CHECK(differences[0].right == "9");
  CHECK(differences[1].path == "inner.colour");

  const std::vector<Field> fields = list_fields(left);
  CHECK(type_text(fields[0]) == "integer");
  CHECK(range_text(fields[0]) == "above 0 and at most 100");
  CHECK(range_text(fields[3]) == "");
  CHECK(type_text(fields.back().fields[1]) == "red | green | blue");
  CHECK(type_text(fields.back().fields[2]) == "red | blue");
  CHECK(list_leaves(fields).back().path == "inner.dark");
}
