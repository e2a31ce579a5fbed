#include "recipes/step_graphs.h"

#include <algorithm>

namespace nemo {

StepGraphs::StepGraphs(ExecContext& ctx, ParameterStore& store, bool wanted)
    : ctx_(ctx), store_(store), enabled_(wanted && ctx.device().is_cuda()) {}

StepGraphs::~StepGraphs() {
  if (num_graphs() > 0) ctx_.synchronize();
}

StepGraphs::Entry* StepGraphs::find(StepPart part, const LayoutShape& layout, const std::vector<bool>& written) {
  for (Entry& entry : entries_)
    if (entry.part == part && entry.layout == layout && entry.written_before == written) return &entry;
  return nullptr;
}

void StepGraphs::run(StepPart part, const LayoutShape& layout, const std::function<void()>& queue) {
  if (!enabled_ || (part == StepPart::micro_batch && !layout.uniform)) return queue();
  std::vector<bool> written = store_.gradients_written();
  Entry* entry = find(part, layout, written);
  if (entry == nullptr) {
    if (entries_.size() < kMaxEntries)
      entries_.push_back(
          {.part = part, .layout = layout, .written_before = std::move(written), .written_after = {}, .graph = {}});
    return queue();
  }
  Stream& stream = ctx_.runtime().stream();
  if (!entry->graph) {
    // The memory of the steps before, cut into pieces by them, makes room for a capture that leases as a first step
    // does.
    if (num_graphs() == 0) {
      stream.synchronize();
      ctx_.arena().release_transient();
    }
    entry->graph.emplace(ctx_.arena(), stream, queue);
    entry->written_after = store_.gradients_written();
  }
  entry->graph->launch(stream);
  store_.set_gradients_written(entry->written_after);  // a replay leaves the host as the recorded run did
}

size_t StepGraphs::num_graphs() const {
  return static_cast<size_t>(
      std::ranges::count_if(entries_, [](const Entry& entry) { return entry.graph.has_value(); }));
}

}  // namespace nemo
