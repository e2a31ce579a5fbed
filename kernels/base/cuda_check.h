// Checks of CUDA runtime returns. Included by *_cuda.cpp and .cu files only.
// Not here: the error type (kernels/base/error.h).
#pragma once
#include <cuda_runtime.h>

#include "kernels/base/error.h"

namespace nemo::kernels {

// Throws CudaError{call, "<name>: <description>"} unless status is success.
inline void cuda_check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  throw CudaError(call, std::string(cudaGetErrorName(status)) + ": " + cudaGetErrorString(status));
}

// After each launch: reports a bad configuration or a missing architecture at once. Does not synchronise, so a fault inside
// the kernel shows at a later call.
inline void check_launch(const char* kernel) { cuda_check(cudaGetLastError(), kernel); }

}  // namespace nemo::kernels
