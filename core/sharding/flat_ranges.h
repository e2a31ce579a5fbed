// Ranges of a flat buffer that share a trait of its parameters' copies. Not here: the sums over ranks
// (parallel/tensor).
#pragma once
#include <cstdint>
#include <vector>

#include "core/nn/parameter_store.h"

namespace nemo {

struct FlatRange {
  int64_t begin, end;  // elements of the flat buffer
  int64_t copies = 1;  // ranks of the tensor axis that hold the same
  bool operator==(const FlatRange&) const = default;
};

// What this rank adds to norms over all parameters: all but the copies that another rank counts. Alignment gaps, which
// are zero, belong to the member before them. Ascending; neighbours are joined.
std::vector<FlatRange> counted_ranges(const FlatBuffer& flat);

// Where each holder has a summand of the gradient.
std::vector<FlatRange> partial_ranges(const FlatBuffer& flat);

}  // namespace nemo
