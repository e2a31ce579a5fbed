#include "recipes/datasheet.h"

#include <string>

#include "kernels/base/cuda_device.h"

namespace nemo {
namespace {

// NVIDIA's datasheets, SXM parts, dense: bf16, fp32 (outside the tensor cores), fp8 (0: has none).
struct Peak { const char* part; double bf16, fp32, fp8; };
constexpr Peak kPeaks[] = {{"H100", 989, 67, 1979}, {"H200", 989, 67, 1979}, {"A100", 312, 19.5, 0}};

std::optional<double> peak_of(const Peak& peak, Precision precision) {
  switch (precision) {
    case Precision::fp32: return peak.fp32;
    case Precision::fp8_mixed: return peak.fp8 > 0 ? std::optional(peak.fp8) : std::nullopt;
    case Precision::bf16_mixed: case Precision::bf16: break;
  }
  return peak.bf16;
}

}  // namespace

std::optional<double> datasheet_peak_tflops(Device device, Precision precision) {
  if (!device.is_cuda()) return std::nullopt;
  const std::string name = kernels::cuda_device_info(device.index).name;
  for (const Peak& peak : kPeaks)
    if (name.find(peak.part) != std::string::npos) return peak_of(peak, precision);
  return std::nullopt;
}

}  // namespace nemo
