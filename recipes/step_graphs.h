// The parts of a training step as CUDA graphs: run once, recorded, then replayed.
// Not here: recording itself (core/device/captured_graph.h), what the parts do (recipes/trainer.h).
#pragma once
#include <deque>
#include <functional>
#include <optional>
#include <vector>

#include "core/device/captured_graph.h"
#include "core/exec_context.h"
#include "core/nn/parameter_store.h"
#include "recipes/batch_layout.h"

namespace nemo {

// Forward and backward of a micro-batch; gradient norm and update.
enum class StepPart : uint8_t { micro_batch, update };

class StepGraphs {
 public:
  // wanted: whether to record; where not, and on the CPU and meta, every part just runs.
  StepGraphs(ExecContext& ctx, ParameterStore& store, bool wanted);
  ~StepGraphs();  // waits for the last replay
  StepGraphs(const StepGraphs&) = delete;
  StepGraphs& operator=(const StepGraphs&) = delete;

  // Queues a part of a step. What it queues may depend on its layout's shape and on which gradients are written already
  // (so the first micro-batch of a step and the ones after it are two graphs), and on nothing else that the host knows.
  // The first time it runs as it is, which lets libraries choose their plans; the second time it is recorded.
  // Batches cut into segments of unequal length run as they are: hardly two of them are alike.
  void run(StepPart part, const LayoutShape& layout, const std::function<void()>& queue);

  size_t num_graphs() const;

 private:
  struct Entry {
    StepPart part;
    LayoutShape layout;
    std::vector<bool> written_before, written_after;
    std::optional<CapturedGraph> graph;  // empty: it ran once
  };
  static constexpr size_t kMaxEntries = 8;  // more kinds of micro-batch than that are not worth their graphs

  Entry* find(StepPart part, const LayoutShape& layout, const std::vector<bool>& written);

  ExecContext& ctx_;
  ParameterStore& store_;
  bool enabled_;
  std::deque<Entry> entries_;
};

}  // namespace nemo
