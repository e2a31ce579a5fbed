#include "core/sharding/flat_ranges.h"

namespace nemo {
namespace {

template <class Belongs>
std::vector<FlatRange> ranges_where(const FlatBuffer& flat, bool by_copies, const Belongs& belongs) {
  std::vector<FlatRange> ranges;
  for (size_t i = 0; i < flat.members.size(); ++i) {
    const Parameter& member = *flat.members[i];
    if (!belongs(member.copies)) continue;
    const int64_t begin = member.flat_offset,
                  end = i + 1 < flat.members.size() ? flat.members[i + 1]->flat_offset : flat.numel,
                  copies = by_copies ? member.copies.count : 1;
    if (!ranges.empty() && ranges.back().end == begin && ranges.back().copies == copies) {
      ranges.back().end = end;
    } else {
      ranges.push_back({begin, end, copies});
    }
  }
  return ranges;
}

}  // namespace

std::vector<FlatRange> counted_ranges(const FlatBuffer& flat) {
  if (flat.copy == Parameter::Copy::second) return {};
  return ranges_where(flat, false, [](const TensorCopies& copies) { return copies.first; });
}

std::vector<FlatRange> partial_ranges(const FlatBuffer& flat) {
  return ranges_where(flat, true, [](const TensorCopies& copies) { return copies.partial; });
}

}  // namespace nemo
