// How a run looks in a terminal or a log file: one line a step, phases, validations.
// Not here: what the run does (recipes/pretrain.h).
#pragma once
#include <string>

#include "recipes/run_events.h"

namespace nemo {

// "step 20/2000 | loss 3.4127 | lr 2.00e-04 | grad norm 1.31 | 24.1k tokens/s | 0.12 TFLOP/s | 0.1 GiB | 32 ms | ETA 1:03"
std::string progress_line(const StepMetrics& metrics);
std::string validation_line(const ValidationMetrics& metrics);
std::string duration_text(double seconds);  // "1:03", "2:10:00", "3d 04:00:00"

}  // namespace nemo
