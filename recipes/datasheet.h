// Datasheet peaks, for the share-of-peak figure.
#pragma once
#include <optional>

#include "core/device/device.h"
#include "recipes/schema.h"

namespace nemo {

// Dense TFLOP/s of the precision's matrix unit; nothing where the device is not in the table.
std::optional<double> datasheet_peak_tflops(Device device, Precision precision);

}  // namespace nemo
