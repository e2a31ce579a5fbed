#include "recipes/sampling.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <vector>

#include "core/error.h"
#include "tests/core/checkpoint/checkpoint_files.h"

using namespace nemo;
using nemo::test::error_of;

namespace {

// How often each token is drawn in many positions.
std::map<int32_t, double> shares(const std::vector<float>& logits, const SamplingOptions& options, int draws = 20000) {
  std::map<int32_t, double> counts;
  for (int i = 0; i < draws; ++i) counts[sample_token(logits, options, 0, i)] += 1.0 / draws;
  return counts;
}

const std::vector<float> kLogits = {std::log(0.1f), std::log(0.4f), std::log(0.2f), std::log(0.3f)};

}  // namespace

TEST_CASE("greedy takes the largest logit, the first of equals", "[sampling]") {
  CHECK(greedy_token(std::vector<float>{1, 3, 2}) == 1);
  CHECK(greedy_token(std::vector<float>{1, 3, 3}) == 1);
  CHECK(sample_token(kLogits, {.temperature = 0}, 5, 7) == 1);
  CHECK(shares(kLogits, {.temperature = 3, .top_k = 1}, 64) == std::map<int32_t, double>{{1, 1.0}});
}

TEST_CASE("tokens are drawn by their probability", "[sampling]") {
  const auto plain = shares(kLogits, {.temperature = 1});
  for (const auto& [id, probability] : std::map<int32_t, double>{{0, 0.1}, {1, 0.4}, {2, 0.2}, {3, 0.3}})
    CHECK(plain.at(id) == Approx(probability).margin(0.015));
  const auto cold = shares(kLogits, {.temperature = 0.5});  // probabilities squared: 1, 16, 4, 9 of 30
  CHECK(cold.at(1) == Approx(16.0 / 30).margin(0.015));
  CHECK(cold.at(0) == Approx(1.0 / 30).margin(0.01));
}

TEST_CASE("top_k keeps the likeliest and shares out the rest", "[sampling]") {
  const auto two = shares(kLogits, {.temperature = 1, .top_k = 2});
  REQUIRE(two.size() == 2);
  CHECK(two.at(1) == Approx(4.0 / 7).margin(0.015));
  CHECK(two.at(3) == Approx(3.0 / 7).margin(0.015));
  CHECK(shares(kLogits, {.temperature = 1, .top_k = 99}) == shares(kLogits, {.temperature = 1}));
}

TEST_CASE("top_p keeps as few as reach it, and one at least", "[sampling]") {
  const auto kept = [](const SamplingOptions& options) {
    std::vector<int32_t> ids;
    for (const auto& [id, share] : shares(kLogits, options)) ids.push_back(id);
    return ids;
  };
  CHECK(kept({.temperature = 1, .top_p = 1e-6}) == std::vector<int32_t>{1});
  CHECK(kept({.temperature = 1, .top_p = 0.39}) == std::vector<int32_t>{1});
  CHECK(kept({.temperature = 1, .top_p = 0.41}) == std::vector<int32_t>{1, 3});
  CHECK(kept({.temperature = 1, .top_p = 0.89}) == std::vector<int32_t>{1, 2, 3});
  CHECK(kept({.temperature = 1, .top_p = 1}) == std::vector<int32_t>{0, 1, 2, 3});
  // After top_k the shares of 1 and 3 are 4/7 and 3/7: 0.5 is reached by the first.
  CHECK(kept({.temperature = 1, .top_k = 2, .top_p = 0.5}) == std::vector<int32_t>{1});
}

TEST_CASE("a draw depends on seed, sequence and position alone", "[sampling]") {
  const std::vector<float> flat(1000, 0.0f);
  const SamplingOptions options{.temperature = 1, .seed = 3};
  const int32_t id = sample_token(flat, options, 2, 9);
  CHECK(sample_token(flat, options, 2, 9) == id);
  CHECK(sample_token(flat, options, 3, 9) != id);
  CHECK(sample_token(flat, options, 2, 10) != id);
  CHECK(sample_token(flat, {.temperature = 1, .seed = 4}, 2, 9) != id);
}

TEST_CASE("sampling options that make no sense are refused", "[sampling]") {
  const auto refusal = [](const SamplingOptions& options) { return error_of<UsageError>([&] { check(options); }); };
  CHECK(refusal({.temperature = 1, .top_k = 5, .top_p = 0.5}).empty());
  CHECK(refusal({.temperature = -1}) ==
        "generate: temperature: -1.000000 makes no sense; try: 0 (greedy) or a positive number");
  CHECK(refusal({.temperature = NAN}).find("temperature") != std::string::npos);
  CHECK(refusal({.top_k = -1}) == "generate: top_k: -1 makes no sense; try: 0 (all tokens) or a positive number");
  CHECK(refusal({.top_p = 0}) ==
        "generate: top_p: 0.000000 makes no sense; try: a number above 0, up to 1 (all tokens)");
  CHECK(refusal({.top_p = 1.5}).find("top_p") != std::string::npos);
}
