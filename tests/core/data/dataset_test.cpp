#include "core/data/dataset.h"

#include <catch2/catch.hpp>

namespace nemo {

using Ids = std::vector<int32_t>;

TEST_CASE("a sample's labels are its tokens moved by one", "[data]") {
  const Sample sample = make_sample(Ids{5, 6, 0, 7}, {});
  CHECK((sample.tokens == Ids{5, 6, 0}));
  CHECK((sample.labels == Ids{6, 0, 7}));
  CHECK((sample.positions == Ids{0, 1, 2}));
  CHECK((sample.segment_starts == Ids{0}));
}

TEST_CASE("ends of documents, each treatment by itself", "[data]") {
  const Ids text = {5, 0, 0, 6, 7, 0, 8};  // 0 ends a document; the last input is one
  const auto masked = [&](bool loss, bool positions, bool segments) { return make_sample(text, {0, loss, positions, segments}); };
  CHECK((masked(true, false, false).labels == Ids{0, kIgnoredLabel, kIgnoredLabel, 7, 0, kIgnoredLabel}));
  CHECK((masked(false, true, false).positions == Ids{0, 1, 0, 0, 1, 2}));
  CHECK((masked(false, false, true).segment_starts == Ids{0, 2, 3}));
  const Sample none = masked(false, false, false);
  CHECK((none.labels == Ids{0, 0, 6, 7, 0, 8}));
  CHECK((none.positions == Ids{0, 1, 2, 3, 4, 5}));
  CHECK((none.segment_starts == Ids{0}));
}

}  // namespace nemo
