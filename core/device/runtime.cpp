#include "core/device/runtime.h"

#include "core/error.h"
#include "kernels/attention/attention_cudnn.h"
#include "kernels/base/cuda_device.h"
#include "kernels/base/error.h"
#include "kernels/gemm/gemm.h"

namespace nemo {
namespace {

Device activated(Device device) {
  if (device.is_cuda()) kernels::cuda_set_device(device.index);
  return device;
}

std::string device_name(Device device) { return device.is_cuda() ? kernels::cuda_device_info(device.index).name : to_string(device); }

// A library that is opened at first use: where it cannot be, the error says what to do.
template <class Open>
auto opened(Device device, const char* library, const char* suggestion, const Open& open) {
  try {
    return open();
  } catch (const kernels::CudaError& error) {
    throw DeviceError{to_string(device), library, error.what(), suggestion};
  }
}

}  // namespace

void Runtime::DestroyCublasLt::operator()(kernels::CublasLt* handle) const noexcept { kernels::cublaslt_destroy(handle); }
void Runtime::DestroyCudnn::operator()(kernels::CudnnAttention* engine) const noexcept { kernels::cudnn_attention_destroy(engine); }

Runtime::Runtime(Device device, bool tune, size_t memory_limit_bytes, const std::filesystem::path& plan_folder)
    : device_(activated(device)), tune_(tune), arena_(device, memory_limit_bytes), stream_(device),
      plans_(device_name(device), tune && device.is_cuda() ? plan_folder : std::filesystem::path()) {
  // Taken at once, also on meta, so that the predicted and the measured peak both count it.
  if (device.plans_for() == DeviceType::cuda) gemm_workspace_ = DeviceBuffer(arena_, kernels::kGemmWorkspaceBytes, MemoryTag::workspace);
}
Runtime::~Runtime() {
  stream_.synchronize();
  plans_.write();
}

kernels::CublasLt& Runtime::cublaslt() {
  if (cublaslt_ == nullptr) cublaslt_.reset(opened(device_, "cuBLASLt", "install the CUDA toolkit's libraries", [&] { return kernels::cublaslt_create(tune_, plans_.book()); }));
  return *cublaslt_;
}
kernels::CudnnAttention& Runtime::cudnn_attention() {
  if (cudnn_attention_ == nullptr) cudnn_attention_.reset(opened(device_, "cuDNN", "install cuDNN 9, or model.attention_backend=own", [&] { return kernels::cudnn_attention_create(tune_, plans_.book()); }));
  return *cudnn_attention_;
}
void* Runtime::gemm_workspace() { return gemm_workspace_.data(); }

}  // namespace nemo
