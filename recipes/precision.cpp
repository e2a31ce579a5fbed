#include "recipes/precision.h"

namespace nemo {

DType compute_dtype(Precision precision) { return precision == Precision::fp32 ? DType::fp32 : DType::bf16; }

StoragePolicy storage_policy(Precision precision, const OptimizerConfig& optim) {
  switch (precision) {
    case Precision::fp32: return {.values = DType::fp32, .gradients = DType::fp32, .master = false};
    case Precision::bf16: return {.values = DType::bf16, .gradients = optim.grad_reduce_in_fp32 ? DType::fp32 : DType::bf16, .master = false};
    case Precision::bf16_mixed: case Precision::fp8_mixed: break;
  }
  return {.values = DType::bf16, .gradients = optim.grad_reduce_in_fp32 ? DType::fp32 : DType::bf16, .master = optim.master_dtype == DType::fp32};
}

}  // namespace nemo
