// One device opened for work: its arena, its compute stream and its library handles.
// Not here: what runs on it (core/exec_context.h).
#pragma once
#include <filesystem>
#include <memory>

#include "core/device/arena.h"
#include "core/device/device.h"
#include "core/device/plan_cache.h"

namespace nemo::kernels {
class CublasLt;
class CudnnAttention;
}  // namespace nemo::kernels

namespace nemo {

class Runtime {
 public:
  // tune: let GEMM and attention plans be picked by timing; what was picked is kept in plan_folder (empty: nowhere), and taken
  // from there at the next start. Without tune the folder has no say. memory_limit_bytes: 0 = all the device has.
  explicit Runtime(Device device, bool tune = true, size_t memory_limit_bytes = 0, const std::filesystem::path& plan_folder = {});
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  Device device() const { return device_; }
  Arena& arena() { return arena_; }
  Stream& stream() { return stream_; }
  PlanCache& plans() { return plans_; }
  // CUDA only, opened at first use; DeviceError where the library is absent.
  kernels::CublasLt& cublaslt();
  kernels::CudnnAttention& cudnn_attention();
  void* gemm_workspace();                   // CUDA only: kernels::kGemmWorkspaceBytes, in stream order

 private:
  struct DestroyCublasLt { void operator()(kernels::CublasLt* handle) const noexcept; };
  struct DestroyCudnn { void operator()(kernels::CudnnAttention* engine) const noexcept; };

  Device device_;
  bool tune_;
  Arena arena_;
  Stream stream_;
  PlanCache plans_;  // the libraries' handles write to it
  std::unique_ptr<kernels::CublasLt, DestroyCublasLt> cublaslt_;
  std::unique_ptr<kernels::CudnnAttention, DestroyCudnn> cudnn_attention_;
  DeviceBuffer gemm_workspace_;
};

}  // namespace nemo
