#include "core/data/split.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <vector>

#include "core/data/blended_dataset.h"
#include "core/error.h"

namespace nemo {
namespace {

std::string_view trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\n") - begin + 1);
}

}  // namespace

std::optional<double> parse_share(std::string_view text) {
  text = trim(text);
  double value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

SplitRanges parse_split(const std::string& split) {
  std::vector<double> shares;
  for (size_t at = 0; at <= split.size();) {
    const size_t comma = std::min(split.find(',', at), split.size());
    const std::optional<double> share = parse_share(std::string_view(split).substr(at, comma - at));
    if (!share || !(*share >= 0) || !std::isfinite(*share)) shares.resize(kNumSplits + 1);  // refused below
    if (shares.size() > kNumSplits) break;
    shares.push_back(*share);
    at = comma + 1;
  }
  shares.resize(shares.size() > kNumSplits ? shares.size() : kNumSplits);
  if (shares.size() > kNumSplits || shares[0] + shares[1] + shares[2] == 0) {
    throw DataError{"", "data.split", "\"" + split + "\" is not up to three shares, of which one is over 0", "\"9999,8,2\""};
  }
  shares = normalize_weights(shares);
  SplitRanges ranges;
  double begin = 0;
  for (int i = 0; i < kNumSplits; ++i) {
    const double end = begin + shares[i];
    if (end > begin) ranges[i] = SplitRange{begin, end};
    begin = end;
  }
  return ranges;
}

}  // namespace nemo
