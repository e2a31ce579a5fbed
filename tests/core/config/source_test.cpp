#include "core/config/source.h"

#include <catch2/catch.hpp>

#include "core/error.h"
#include "tests/recipes/recipe_folder.h"

using namespace nemo;
using nemo::testing::RecipeFolder;

TEST_CASE("recipes are found by name, first folder first, or by path", "[config]") {
  const RecipeFolder first({{"a.yaml", ""}, {"_part.yaml", ""}, {"notes.txt", ""}}),
      second({{"a.yaml", ""}, {"b.yaml", ""}});
  const RecipeFolders folders({first.path(), "/does/not/exist", second.path()});
  CHECK(folders.names() == std::vector<std::string>{"a", "b"});
  CHECK(folders.resolve("a") == first.file("a.yaml"));
  CHECK(folders.resolve("b") == second.file("b.yaml"));
  CHECK(folders.resolve("_part") == first.file("_part.yaml"));
  CHECK(folders.resolve(second.file("b.yaml")) == second.file("b.yaml"));
  CHECK_THROWS_WITH(folders.resolve("c.yaml"), "c.yaml: no such file; try: nemo recipes ls lists the shipped recipes");
  CHECK_THROWS_WITH(RecipeFolders({second.path()}).resolve("unheard_of"),
                    "unheard_of: no recipe has this name; try: nemo recipes ls, or the path of a .yaml file");
}

TEST_CASE("a misspelt recipe name names the nearest", "[config]") {
  const RecipeFolder library({{"gpt2_124m.yaml", ""}, {"llama3_8b.yaml", ""}});
  CHECK_THROWS_WITH(RecipeFolders({library.path()}).resolve("gpt2_142m"),
                    "gpt2_142m: no recipe has this name; try: gpt2_124m");
}

TEST_CASE("layers come base first, and know which is which", "[config]") {
  const RecipeFolder library({{"common.yaml", "a: 1\n"}});
  const RecipeFolder mine(
      {{"deep/middle.yaml", "base: common\nb: 2\n"}, {"top.yaml", "base: deep/middle.yaml\nc: 3\n"}});
  const auto layers = read_recipe_layers(mine.file("top.yaml"), RecipeFolders({library.path()}));
  REQUIRE(layers.size() == 3);
  CHECK(layers[0].find("a")->origin.describe() == "base common.yaml:1");
  CHECK(layers[1].find("b")->origin.describe() == "base middle.yaml:2");
  CHECK(layers[2].find("c")->origin.describe() == "recipe top.yaml:2");
  CHECK(layers[2].find("c")->origin.place() == mine.file("top.yaml") + ":2");
  for (const ConfigNode& layer : layers) CHECK(layer.find("base") == nullptr);
}

TEST_CASE("bases that cannot be", "[config]") {
  const RecipeFolder folder({{"a.yaml", "base: b.yaml\n"},
                             {"b.yaml", "\nbase: ./a.yaml\n"},
                             {"self.yaml", "base: self.yaml\n"},
                             {"gone.yaml", "base: nowhere.yaml\n"},
                             {"list.yaml", "base: [a.yaml]\n"},
                             {"null.yaml", "base:\n"}});
  const RecipeFolders none({});
  const auto read = [&](const std::string& name) { return read_recipe_layers(folder.file(name), none); };
  CHECK_THROWS_WITH(
      read("a.yaml"),
      Catch::EndsWith(
          "b.yaml:2: base: leads back to itself: a.yaml -> b.yaml -> a.yaml; try: remove one of these bases"));
  CHECK_THROWS_WITH(
      read("self.yaml"),
      Catch::EndsWith(
          "self.yaml:1: base: leads back to itself: self.yaml -> self.yaml; try: remove one of these bases"));
  CHECK_THROWS_WITH(
      read("gone.yaml"),
      folder.file("gone.yaml") + ":1: nowhere.yaml: no such file; try: nemo recipes ls lists the shipped recipes");
  CHECK_THROWS_WITH(read("list.yaml"),
                    folder.file("list.yaml") +
                        ":1: base: needs a recipe's name or path, found a list; try: nemo recipes ls lists names");
  CHECK_THROWS_AS(read("null.yaml"), RecipeError);
  CHECK_THROWS_WITH(read_recipe_layers(folder.path(), none),
                    folder.path().string() + ": not a file; try: give a .yaml file");
}
