#include "core/config/nearest.h"

#include <catch2/catch.hpp>

using namespace nemo;

TEST_CASE("edit distance counts insertions, deletions, replacements and swaps", "[config]") {
  CHECK(edit_distance("", "") == 0);
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("micor", "micro") == 1);
  CHECK(edit_distance("abc", "abc") == 0);
}

TEST_CASE("the nearest word, and none where nothing is near", "[config]") {
  const std::vector<std::string> words = {"num_layers", "hidden_size", "ffn_hidden_size", "lr"};
  CHECK(find_nearest("num_layer", words) == "num_layers");
  CHECK(find_nearest("hiden_size", words) == "hidden_size");
  CHECK(find_nearest("learning_rate", words) == std::nullopt);
  CHECK(find_nearest("zz", words) == std::nullopt);
  CHECK(find_nearest("hidden_size_per_head", words) == "hidden_size");
  CHECK(find_nearest(std::string(1000, 'a'), words) == std::nullopt);
  CHECK(find_nearest("lr", {}) == std::nullopt);
}
