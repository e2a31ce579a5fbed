// Choosing the next token from one row of logits, on the host. Not here: beams (recipes/beam_search.h), the model.
#pragma once
#include <cstdint>
#include <span>

namespace nemo {

struct SamplingOptions {
  double temperature = 0;  // logits are divided by it; 0: the likeliest token, always
  int64_t top_k = 0;       // only this many likeliest tokens; 0: all
  double top_p = 1;        // only the likeliest tokens that together reach this probability; 1: all
  uint64_t seed = 1234;
};

// UsageError where a value makes no sense.
void check(const SamplingOptions& options);

// The likeliest token; the first of equals.
int32_t greedy_token(std::span<const float> logits);

// Draws the token at `position` of `sequence`. The draw depends on (seed, sequence, position) alone, so neither the
// other sequences of a batch nor what was generated before moves it. top_k acts before top_p; both after the
// temperature. Holtzman et al. 2019, arXiv:1904.09751 (top_p).
int32_t sample_token(std::span<const float> logits, const SamplingOptions& options, int64_t sequence, int64_t position);

}  // namespace nemo
