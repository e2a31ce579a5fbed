#include "recipes/metrics_log.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/error.h"

namespace nemo {
namespace {

using Json = nlohmann::ordered_json;

// JSON has no NaN and no infinity: null says that the number was not finite.
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

std::vector<std::string> lines_up_to(const std::filesystem::path& file, int64_t step) {
  std::vector<std::string> kept;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    const Json object = Json::parse(line, nullptr, false);
    if (object.is_object() && object.contains("step") && object["step"].is_number_integer() && object["step"].get<int64_t>() <= step) kept.push_back(line);
  }
  return kept;
}

}  // namespace

MetricsLog::MetricsLog(const std::filesystem::path& file, int64_t resumed_step) {
  const std::vector<std::string> kept = resumed_step > 0 ? lines_up_to(file, resumed_step) : std::vector<std::string>();
  std::filesystem::create_directories(file.parent_path());
  out_.open(file, std::ios::trunc);
  if (!out_) throw DataError{file.string(), "metrics", "cannot be written", "run.results_dir=<a folder you may write to>"};
  for (const std::string& line : kept) out_ << line << '\n';
  out_.flush();
}

void MetricsLog::write(const StepMetrics& m) {
  Json object{{"step", m.step}, {"loss", number(m.loss)}, {"lr", m.lr}, {"grad_norm", number(m.grad_norm)}, {"tokens_per_s", m.tokens_per_s},
              {"step_ms", m.step_ms}, {"tflops", m.tflops}, {"tflops_full_attention", m.tflops_full}, {"memory_bytes", m.memory_bytes},
              {"consumed_samples", m.consumed_samples}, {"consumed_tokens", m.consumed_tokens}, {"skipped", m.skipped}, {"skipped_steps", m.skipped_steps}};
  if (m.peak_share) object["peak_share"] = *m.peak_share;
  out_ << object.dump() << std::endl;
}

void MetricsLog::write(const ValidationMetrics& m) {
  out_ << Json{{"step", m.step}, {"val_loss", number(m.loss)}, {"val_perplexity", number(m.perplexity)}, {"best", m.best}}.dump() << std::endl;
}

}  // namespace nemo
