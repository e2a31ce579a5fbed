#include "models/decoder/rope_table.h"

#include <cmath>
#include <numbers>

#include "core/ops/copy.h"

namespace nemo {
namespace {

double stretched(double frequency, const RopeScaling& scaling) {
  switch (scaling.type) {
    case RopeScalingType::none: return frequency;
    case RopeScalingType::linear: return frequency / scaling.factor;
    case RopeScalingType::llama3: {
      const double wavelength = 2 * std::numbers::pi / frequency, original = static_cast<double>(scaling.original_max_position_embeddings);
      if (wavelength < original / scaling.high_freq_factor) return frequency;
      if (wavelength > original / scaling.low_freq_factor) return frequency / scaling.factor;
      const double kept = (original / wavelength - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
      return (1 - kept) * frequency / scaling.factor + kept * frequency;
    }
  }
  return frequency;
}

}  // namespace

std::vector<double> inverse_frequencies(const DecoderConfig& config) {
  std::vector<double> frequencies;
  for (int64_t i = 0; i < config.head_dim / 2; ++i)
    frequencies.push_back(stretched(std::pow(config.rotary_base, -2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim)), config.rope_scaling));
  return frequencies;
}

RopeTable make_rope_table(ExecContext& ctx, const DecoderConfig& config) {
  const std::vector<double> frequencies = inverse_frequencies(config);
  const int64_t half = static_cast<int64_t>(frequencies.size()), positions = config.max_position_embeddings;
  RopeTable table{ctx.empty({positions, half}, DType::fp32, MemoryTag::parameters), ctx.empty({positions, half}, DType::fp32, MemoryTag::parameters)};
  if (ctx.device().is_meta()) return table;
  std::vector<float> cos(static_cast<size_t>(positions * half)), sin(cos.size());
  for (int64_t position = 0; position < positions; ++position) {
    for (int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(position) * frequencies[static_cast<size_t>(i)];
      cos[static_cast<size_t>(position * half + i)] = static_cast<float>(std::cos(angle));
      sin[static_cast<size_t>(position * half + i)] = static_cast<float>(std::sin(angle));
    }
  }
  upload(ctx, table.cos, cos.data());
  upload(ctx, table.sin, sin.data());
  ctx.synchronize();  // the host tables end here
  return table;
}

}  // namespace nemo
