#include "recipes/datasheet.h"

#include <string>

#include "kernels/base/cuda_device.h"

namespace nemo {
namespace {

// NVIDIA's datasheets, SXM parts, dense: bf16 and fp32 (outside the tensor cores).
struct Peak { const char* part; double bf16, fp32; };
constexpr Peak kPeaks[] = {{"H100", 989, 67}, {"H200", 989, 67}, {"A100", 312, 19.5}};

}  // namespace

std::optional<double> datasheet_peak_tflops(Device device, Precision precision) {
  if (!device.is_cuda()) return std::nullopt;
  const std::string name = kernels::cuda_device_info(device.index).name;
  for (const Peak& peak : kPeaks)
    if (name.find(peak.part) != std::string::npos) return precision == Precision::fp32 ? peak.fp32 : peak.bf16;
  return std::nullopt;
}

}  // namespace nemo
