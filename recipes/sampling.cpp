#include "recipes/sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/exec_context.h"
#include "kernels/base/philox.h"

namespace nemo {
namespace {

// Uniform in [0, 1) with 53 bits: a vocabulary's rare tokens lie closer together than fp32 tells apart.
double draw(uint64_t seed, int64_t sequence, int64_t position) {
  const kernels::RandomKey key{seed, random_site("generate.sample")};
  const kernels::Philox4 bits = kernels::philox(key, static_cast<uint64_t>(position), static_cast<uint64_t>(sequence));
  return static_cast<double>((static_cast<uint64_t>(bits.x) << 32 | bits.y) >> 11) * 0x1p-53;
}

// The num_kept likeliest tokens, likeliest first; the lower id first of equals.
std::vector<int32_t> likeliest(std::span<const float> logits, size_t num_kept) {
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(num_kept), order.end(),
                    [&](int32_t a, int32_t b) { return logits[a] > logits[b] || (logits[a] == logits[b] && a < b); });
  order.resize(num_kept);
  return order;
}

}  // namespace

void check(const SamplingOptions& options) {
  const auto refuse = [](const std::string& name, const std::string& value, const std::string& range) {
    throw UsageError{"generate", name, value + " makes no sense", range};
  };
  if (!(options.temperature >= 0) || std::isinf(options.temperature))
    refuse("temperature", std::to_string(options.temperature), "0 (greedy) or a positive number");
  if (options.top_k < 0) refuse("top_k", std::to_string(options.top_k), "0 (all tokens) or a positive number");
  if (!(options.top_p > 0 && options.top_p <= 1))
    refuse("top_p", std::to_string(options.top_p), "a number above 0, up to 1 (all tokens)");
}

int32_t greedy_token(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

int32_t sample_token(std::span<const float> logits, const SamplingOptions& options, int64_t sequence,
                     int64_t position) {
  if (options.temperature == 0 || options.top_k == 1) return greedy_token(logits);
  const bool cut = options.top_k > 0 && options.top_k < static_cast<int64_t>(logits.size());
  const std::vector<int32_t> order = likeliest(logits, cut ? static_cast<size_t>(options.top_k) : logits.size());
  std::vector<double> weights;
  for (const int32_t id : order)
    weights.push_back(std::exp((static_cast<double>(logits[id]) - logits[order.front()]) / options.temperature));

  double kept = std::accumulate(weights.begin(), weights.end(), 0.0);
  if (options.top_p < 1) {
    const double wanted = options.top_p * kept;
    size_t count = 0;
    for (kept = 0; count < weights.size() && kept < wanted; ++count) kept += weights[count];
    weights.resize(count);
  }
  double rest = draw(options.seed, sequence, position) * kept;
  size_t chosen = 0;
  while (chosen + 1 < weights.size() && rest >= weights[chosen]) rest -= weights[chosen++];
  return order[chosen];
}

}  // namespace nemo
