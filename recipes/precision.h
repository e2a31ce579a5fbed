// What `trainer.precision` and `optim`'s dtypes mean for storage: one place for all runs.
#pragma once
#include "core/nn/parameter_store.h"
#include "recipes/schema.h"

namespace nemo {

DType compute_dtype(Precision precision);

// bf16-mixed: bf16 values beside fp32 masters; bf16: bf16 values alone, updated with stochastic rounding; both with
// gradients in fp32 unless optim.grad_reduce_in_fp32 is off; fp32: everything fp32.
StoragePolicy storage_policy(Precision precision, const OptimizerConfig& optim);

}  // namespace nemo
