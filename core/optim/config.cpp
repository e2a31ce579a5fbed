#include "core/optim/config.h"

namespace nemo {

std::span<const std::string_view> enum_names(OptimizerName) {
  static constexpr std::string_view kNames[] = {"adamw", "adam", "sgd", "lion", "muon"};
  return kNames;
}

std::span<const std::string_view> enum_names(ScheduleName) {
  static constexpr std::string_view kNames[] = {"CosineAnnealing", "Linear", "Constant", "InverseSquareRoot", "WSD"};
  return kNames;
}

std::span<const std::string_view> enum_names(DType) {
  static constexpr std::string_view kNames[] = {"fp32",  "bf16",   "fp16",  "fp64",  "int8",   "uint8",
                                                "int16", "uint16", "int32", "int64", "boolean"};
  return kNames;
}

}  // namespace nemo
