// Train, validation and test: the shares of a data set, as `data.split` gives them. What is cut (documents, tokens) is the
// data sets' matter.
#pragma once
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/data/dataset.h"

namespace nemo {

enum class Split { train = 0, validation = 1, test = 2 };
inline constexpr int kNumSplits = 3;
inline constexpr const char* kSplitNames[kNumSplits] = {"train split", "validation split", "test split"};

using SplitDatasets = std::array<std::unique_ptr<Dataset>, kNumSplits>;  // null: not built

// Where a split lies, as fractions of the whole; none for a share of 0.
struct SplitRange {
  double begin, end;
};
using SplitRanges = std::array<std::optional<SplitRange>, kNumSplits>;

// "9999,8,2": shares of train, validation and test, in any unit. Throws DataError for anything else.
SplitRanges parse_split(const std::string& split);

// A whole decimal number, as recipes write shares and weights.
std::optional<double> parse_share(std::string_view text);

}  // namespace nemo
