#include "core/device/runtime.h"

#include "kernels/attention/attention_cudnn.h"
#include "kernels/base/cuda_device.h"
#include "kernels/gemm/gemm.h"

namespace nemo {
namespace {

Device activated(Device device) {
  if (device.is_cuda()) kernels::cuda_set_device(device.index);
  return device;
}

}  // namespace

void Runtime::DestroyCublasLt::operator()(kernels::CublasLt* handle) const noexcept { kernels::cublaslt_destroy(handle); }
void Runtime::DestroyCudnn::operator()(kernels::CudnnAttention* engine) const noexcept { kernels::cudnn_attention_destroy(engine); }

Runtime::Runtime(Device device, bool tune, size_t memory_limit_bytes)
    : device_(activated(device)), tune_(tune), arena_(device, memory_limit_bytes), stream_(device) {
  // Taken at once, also on meta, so that the predicted and the measured peak both count it.
  if (device.plans_for() == DeviceType::cuda) gemm_workspace_ = DeviceBuffer(arena_, kernels::kGemmWorkspaceBytes, MemoryTag::workspace);
}
Runtime::~Runtime() { stream_.synchronize(); }

kernels::CublasLt& Runtime::cublaslt() {
  if (cublaslt_ == nullptr) cublaslt_.reset(kernels::cublaslt_create(tune_));
  return *cublaslt_;
}
kernels::CudnnAttention* Runtime::cudnn_attention() {
  if (cudnn_attention_ == nullptr) cudnn_attention_.reset(kernels::cudnn_attention_create());
  return cudnn_attention_.get();
}
void* Runtime::gemm_workspace() { return gemm_workspace_.data(); }

}  // namespace nemo
