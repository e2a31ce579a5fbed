// metrics.jsonl of a run: one JSON object a step or validation. A resumed run drops the lines behind the step it resumes
// from and appends.
#pragma once
#include <cstdint>
#include <filesystem>
#include <fstream>

#include "recipes/run_events.h"

namespace nemo {

class MetricsLog {
 public:
  // Keeps lines of steps up to resumed_step (0: starts a new file).
  MetricsLog(const std::filesystem::path& file, int64_t resumed_step);

  void write(const StepMetrics& metrics);
  void write(const ValidationMetrics& metrics);

 private:
  std::ofstream out_;
};

}  // namespace nemo
