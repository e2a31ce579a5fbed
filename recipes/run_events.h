// What a run tells whoever watches it, and what it asks. The command line prints it; tests record it.
// Not here: files the run writes itself (recipes/metrics_log.h).
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace nemo {

struct StepMetrics {
  int64_t step = 0, max_steps = 0;
  double loss = 0, lr = 0, grad_norm = 0;
  double step_ms = 0, tokens_per_s = 0;
  double tflops = 0, tflops_full = 0;        // attention counted causal, and full as older tables do
  std::optional<double> peak_share = {};     // tflops over the device's datasheet peak, where it is known
  size_t memory_bytes = 0;                   // peak of the device's arena
  int64_t consumed_samples = 0, consumed_tokens = 0;
  int64_t skipped_steps = 0;                 // so far in this run
  double eta_s = 0;
  bool skipped = false;
};

struct ValidationMetrics {
  int64_t step = 0;
  double loss = 0, perplexity = 0;
  bool best = false;
};

struct RunEvents {
  std::function<void(const std::string& phase, double seconds)> on_phase;        // a start-up phase ended
  std::function<void(const std::string& text)> on_notice;
  std::function<void(const StepMetrics&)> on_step;
  std::function<void(const ValidationMetrics&)> on_validation;
  std::function<void(const std::string& path, int64_t step)> on_saved;
  std::function<bool()> stop_requested;                                          // save and stop after this step
};

}  // namespace nemo
