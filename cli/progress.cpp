#include "cli/progress.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>

namespace nemo {
namespace {

std::string rate_text(double per_second) {
  if (per_second >= 1e6) return fmt::format("{:.2f}M", per_second * 1e-6);
  return per_second >= 1e4 ? fmt::format("{:.1f}k", per_second * 1e-3) : fmt::format("{:.0f}", per_second);
}

}  // namespace

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds)) return "?";
  const int64_t total = std::max<int64_t>(0, std::llround(seconds)), days = total / 86400, hours = total / 3600 % 24, minutes = total / 60 % 60;
  if (days > 0) return fmt::format("{}d {:02}:{:02}:{:02}", days, hours, minutes, total % 60);
  return hours > 0 ? fmt::format("{}:{:02}:{:02}", hours, minutes, total % 60) : fmt::format("{}:{:02}", minutes, total % 60);
}

std::string progress_line(const StepMetrics& m) {
  std::string line = fmt::format("step {}/{} | loss {:.4f} | lr {:.2e} | grad norm {:.2f} | {} tokens/s | ", m.step, m.max_steps, m.loss, m.lr, m.grad_norm, rate_text(m.tokens_per_s));
  line += fmt::format("{:.{}f} TFLOP/s", m.tflops, m.tflops < 10 ? 2 : 0);
  if (m.peak_share) line += fmt::format(" ({:.1f}% of peak)", *m.peak_share * 100);
  line += fmt::format(" | {:.1f} GiB | {:.{}f} ms | ETA {}", static_cast<double>(m.memory_bytes) / (1 << 30), m.step_ms, m.step_ms < 100 ? 1 : 0, duration_text(m.eta_s));
  if (m.skipped) line += fmt::format(" | SKIPPED: not finite, weights unchanged ({} so far)", m.skipped_steps);
  return line;
}

std::string validation_line(const ValidationMetrics& m) {
  return fmt::format("step {} | validation loss {:.4f} | perplexity {:.2f}{}", m.step, m.loss, m.perplexity, m.best ? " | best so far" : "");
}

}  // namespace nemo
