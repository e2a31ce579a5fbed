#include "recipes/beam_search.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <map>

#include "core/error.h"
#include "tests/core/checkpoint/checkpoint_files.h"

using namespace nemo;
using nemo::test::error_of;

namespace {

using Ids = std::vector<int32_t>;
using Distribution = std::function<std::vector<float>(const Ids&)>;  // probabilities after these new ids

Ids run(const BeamOptions& options, const Distribution& after) {
  BeamSearch search(options);
  while (!search.done()) {
    std::vector<float> logits;
    for (const BeamSearch::Beam& beam : search.beams())
      for (const float probability : after(beam.ids))
        logits.push_back(std::log(probability) + 3);  // any offset: they are normalised
    search.advance(logits);
  }
  return search.best();
}

}  // namespace

TEST_CASE("beams find what greedy walks past", "[beam_search]") {
  const Distribution garden = [](const Ids& ids) -> std::vector<float> {
    if (ids.empty()) return {0.5f, 0.4f, 0.05f, 0.05f};  // 0 looks best ...
    if (ids == Ids{0}) return {0.3f, 0.25f, 0.25f, 0.2f};
    return {0.02f, 0.02f, 0.94f, 0.02f};  // ... but after 1 comes a sure 2
  };
  CHECK(run({.num_beams = 2, .max_new_tokens = 2}, garden) == Ids{1, 2});
}

TEST_CASE("hypotheses compare by score over length", "[beam_search]") {
  // 3 ends. Ending at once has log 0.3; going on scores log 0.6 + log 0.9 + ..., less in sum, more a token.
  const Distribution ends = [](const Ids& ids) -> std::vector<float> {
    if (ids.empty()) return {0.6f, 0.05f, 0.05f, 0.3f};
    if (ids.size() == 1) return {0.5f, 0.2f, 0.2f, 0.1f};
    return {0.05f, 0.05f, 0.05f, 0.85f};
  };
  CHECK(run({.num_beams = 2, .max_new_tokens = 6, .length_penalty = 1, .eos_ids = {3}}, ends) == Ids{0, 0, 3});
  CHECK(run({.num_beams = 2, .max_new_tokens = 6, .length_penalty = 0, .eos_ids = {3}}, ends) == Ids{3});
}

TEST_CASE("beam search ends when no open beam can win", "[beam_search]") {
  int steps = 0;
  const Distribution sure = [&](const Ids& ids) -> std::vector<float> {
    ++steps;
    return {0.001f, 0.002f, 0.003f, 0.994f};
  };
  CHECK(run({.num_beams = 2, .max_new_tokens = 50, .eos_ids = {3}}, sure) == Ids{3});
  CHECK(steps < 10);
}

TEST_CASE("an ending below the best beams is forgotten, and no beam is lost to one", "[beam_search]") {
  BeamSearch search({.num_beams = 2, .max_new_tokens = 9, .eos_ids = {4, 5}});
  REQUIRE(search.beams().size() == 1);
  const auto logs = [](std::vector<float> values) {
    for (float& value : values) value = std::log(value);
    return values;
  };
  search.advance(logs({0.3f, 0.25f, 0.02f, 0.03f, 0.2f, 0.2f}));  // both endings rank third and fourth
  REQUIRE(search.beams().size() == 2);
  CHECK(search.beams()[0].ids == Ids{0});
  CHECK(search.beams()[1].ids == Ids{1});
  CHECK_FALSE(search.done());
  std::vector<float> rows = logs({0.01f, 0.02f, 0.03f, 0.04f, 0.6f, 0.3f});
  const std::vector<float> second = logs({0.1f, 0.2f, 0.3f, 0.4f - 2e-6f, 1e-6f, 1e-6f});
  rows.insert(rows.end(), second.begin(), second.end());
  search.advance(rows);  // 0 4 ends in first place; the best that go on come from the second beam
  REQUIRE(search.beams().size() == 2);
  CHECK(search.beams()[0].ids == Ids{1, 3});
  CHECK(search.beams()[0].origin == 1);
  CHECK(search.beams()[1].ids == Ids{1, 2});
}

TEST_CASE("more beams than the vocabulary can fill are refused", "[beam_search]") {
  BeamSearch search({.num_beams = 3, .max_new_tokens = 2, .eos_ids = {0}});
  CHECK(error_of<UsageError>([&] { search.advance(std::vector<float>(4, 0.0f)); }) ==
        "generate: num_beams: 3 are too many for a vocabulary of 4; try: at most 2");
}
