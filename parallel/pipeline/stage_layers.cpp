#include "parallel/pipeline/stage_layers.h"

#include <numeric>
#include <string>

#include "core/error.h"

namespace nemo {

std::vector<int64_t> layers_of_stages(int64_t num_layers, int64_t num_stages, int64_t num_chunks,
                                      const std::vector<int64_t>& layout) {
  const int64_t count = num_stages * num_chunks;
  const auto fail = [](const std::string& reason, const std::string& suggestion) {
    throw PlanError{"pipeline", "layers", reason, suggestion};
  };
  const auto text = [](int64_t number) { return std::to_string(number); };
  if (layout.empty()) {
    if (num_layers % count != 0)
      fail(text(count) + " chunks do not divide " + text(num_layers) + " layers",
           "a pipeline_model_parallel_layout with a count for each");
    return std::vector<int64_t>(static_cast<size_t>(count), num_layers / count);
  }
  if (static_cast<int64_t>(layout.size()) != count)
    fail("the layout has " + text(static_cast<int64_t>(layout.size())) + " counts for " + text(num_stages) +
             " stages of " + text(num_chunks) + (num_chunks == 1 ? " chunk" : " chunks"),
         text(count) + " counts");
  for (size_t i = 0; i < layout.size(); ++i) {
    const bool outer = i == 0 || i + 1 == layout.size();
    if (layout[i] < (outer ? 0 : 1))
      fail("place " + text(static_cast<int64_t>(i)) + " of the layout has " + text(layout[i]) + " layers",
           outer ? "0 or more" : "1 or more");
  }
  const int64_t sum = std::accumulate(layout.begin(), layout.end(), int64_t{0});
  if (sum != num_layers)
    fail("the layout has " + text(sum) + " layers, the model " + text(num_layers),
         "counts that add up to " + text(num_layers));
  return layout;
}

std::vector<StageBlocks> blocks_of_stage(const std::vector<int64_t>& layers, int64_t num_stages, int64_t stage) {
  std::vector<StageBlocks> chunks;
  int64_t begin = 1;
  for (size_t place = 0; place < layers.size(); ++place) {
    const int64_t end = begin + layers[place];
    const bool first = place == 0, last = place + 1 == layers.size();
    if (static_cast<int64_t>(place) % num_stages == stage) chunks.push_back({first ? 0 : begin, last ? end + 1 : end});
    begin = end;
  }
  return chunks;
}

}  // namespace nemo
