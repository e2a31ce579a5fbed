#include "core/config/nearest.h"

#include <algorithm>

namespace nemo {

size_t edit_distance(std::string_view a, std::string_view b) {
  const size_t width = b.size() + 1;
  std::vector<size_t> table((a.size() + 1) * width);  // [i, j]: distance of a's first i letters from b's first j
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      size_t& here = table[i * width + j];
      if (i == 0 || j == 0) {
        here = i + j;
        continue;
      }
      const size_t replaced = table[(i - 1) * width + j - 1] + (a[i - 1] != b[j - 1]);
      here = std::min({table[(i - 1) * width + j] + 1, table[i * width + j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        here = std::min(here, table[(i - 2) * width + j - 2] + 1);
    }
  }
  return table.back();
}

std::optional<std::string> find_nearest(std::string_view word, std::span<const std::string> candidates) {
  if (word.size() > 200) return std::nullopt;  // no key is that long, and the table would be
  std::optional<std::string> nearest;
  size_t best = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    size_t distance = edit_distance(word, candidate);
    const bool part = word.size() >= 4 && (candidate.starts_with(word) || word.starts_with(candidate));
    if (part) distance = std::min<size_t>(distance, 2);  // a name cut short, or one with more on it
    if (distance < best) best = distance, nearest = candidate;
  }
  return best < word.size() ? nearest : std::nullopt;  // as many edits as letters: unrelated
}

}  // namespace nemo
