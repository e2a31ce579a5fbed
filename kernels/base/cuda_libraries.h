// Opens NVIDIA's libraries, which nemo does not link, at first use. CUDA builds only.
// Not here: what is called in them (kernels/gemm, kernels/attention).
#pragma once
#include "kernels/base/dynamic_library.h"

namespace nemo::kernels {

// Each throws CudaError, saying how to get the library, where it is absent.
DynamicLibrary open_cublaslt();
DynamicLibrary open_cudnn();
DynamicLibrary open_cudart();  // the shared runtime, which cudnn-frontend looks up by name; ours is linked statically
DynamicLibrary open_nccl();
DynamicLibrary open_cupti();  // the tracer

}  // namespace nemo::kernels
