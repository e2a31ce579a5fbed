// The one exception kernels throw: a CUDA, cuBLASLt or cuDNN call that failed. core turns it into DeviceError.
#pragma once
#include <stdexcept>
#include <string>

namespace nemo::kernels {

class CudaError : public std::runtime_error {
 public:
  CudaError(const std::string& call, const std::string& reason) : std::runtime_error(call + ": " + reason) {}
};

}  // namespace nemo::kernels
