#include "kernels/base/cuda_device.h"

#include <dlfcn.h>

#include "kernels/base/cuda_check.h"
#include "kernels/base/cuda_libraries.h"

namespace nemo::kernels {
namespace {

// CUDA's own numbers are 1000 * major + 10 * minor.
std::string cuda_version_text(int version) {
  if (version <= 0) return "";
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// cuBLAS, cuDNN 9 and NCCL: 10000 * major + 100 * minor + patch.
std::string library_version_text(int64_t version) {
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." + std::to_string(version % 100);
}

// Absence of a library is an expected answer here, and opening says it by throwing.
template <class Ask>
std::string version_or_empty(const Ask& ask) {
  try {
    return ask();
  } catch (const CudaError&) {
    return "";
  }
}

}  // namespace

std::string cuda_unavailable_reason() {
  // Asked before the runtime is, whose error for a missing driver and for an old one is the same.
  void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!driver) return "no libcuda.so.1: the NVIDIA driver is not installed";
  dlclose(driver);
  int driver_version = 0, runtime_version = 0, count = 0;
  if (cudaDriverGetVersion(&driver_version) != cudaSuccess || cudaRuntimeGetVersion(&runtime_version) != cudaSuccess) {
    cudaGetLastError();
    return "the NVIDIA driver does not answer";
  }
  if (driver_version == 0) return "the NVIDIA driver does not answer";
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess && count > 0) return "";
  cudaGetLastError();  // a failed call must not be reported again by the next launch
  if (status == cudaSuccess || status == cudaErrorNoDevice) return "no NVIDIA GPU is visible";
  std::string reason = cudaGetErrorString(status);
  if (status == cudaErrorInsufficientDriver) {
    reason = "driver too old: it supports CUDA " + cuda_version_text(driver_version) + ", this build needs CUDA " +
             cuda_version_text(runtime_version);
  }
  return reason;
}

int cuda_device_count() {
  int count = 0;
  cuda_check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
  return count;
}

CudaDeviceInfo cuda_device_info(int index) {
  cudaDeviceProp properties{};
  cuda_check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
  CudaDeviceInfo info;
  info.name = properties.name;
  info.major = properties.major;
  info.minor = properties.minor;
  info.multiprocessors = properties.multiProcessorCount;
  int before = 0;
  cuda_check(cudaGetDevice(&before), "cudaGetDevice");
  cuda_check(cudaSetDevice(index), "cudaSetDevice");
  const cudaError_t status = cudaMemGetInfo(&info.free_bytes, &info.total_bytes);
  cuda_check(cudaSetDevice(before), "cudaSetDevice");
  cuda_check(status, "cudaMemGetInfo");
  return info;
}

void cuda_set_device(int index) { cuda_check(cudaSetDevice(index), "cudaSetDevice"); }

void* cuda_allocate(size_t bytes) {
  void* data = nullptr;
  const cudaError_t status = cudaMalloc(&data, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // cleared: the arena answers this, not the next launch
    return nullptr;
  }
  cuda_check(status, "cudaMalloc");
  return data;
}

void cuda_free(void* data) noexcept { cudaFree(data); }

void* cuda_allocate_pinned(size_t bytes) {
  void* data = nullptr;
  cuda_check(cudaMallocHost(&data, bytes), "cudaMallocHost");
  return data;
}

void cuda_free_pinned(void* data) noexcept { cudaFreeHost(data); }

cudaStream_t cuda_stream_create() {
  cudaStream_t stream = nullptr;
  cuda_check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  return stream;
}

void cuda_stream_destroy(cudaStream_t stream) noexcept { cudaStreamDestroy(stream); }

void cuda_stream_synchronize(cudaStream_t stream) { cuda_check(cudaStreamSynchronize(stream), "cudaStreamSynchronize"); }

void cuda_stream_wait(cudaStream_t stream, cudaEvent_t event) {
  cuda_check(cudaStreamWaitEvent(stream, event, 0), "cudaStreamWaitEvent");
}

cudaEvent_t cuda_event_create() {
  cudaEvent_t event = nullptr;
  cuda_check(cudaEventCreate(&event), "cudaEventCreate");
  return event;
}

void cuda_event_destroy(cudaEvent_t event) noexcept { cudaEventDestroy(event); }

void cuda_event_record(cudaEvent_t event, cudaStream_t stream) { cuda_check(cudaEventRecord(event, stream), "cudaEventRecord"); }

float cuda_event_elapsed_ms(cudaEvent_t start, cudaEvent_t end) {
  float milliseconds = 0;
  cuda_check(cudaEventElapsedTime(&milliseconds, start, end), "cudaEventElapsedTime");
  return milliseconds;
}

bool cuda_event_done(cudaEvent_t event) {
  const cudaError_t status = cudaEventQuery(event);
  if (status == cudaErrorNotReady) {
    cudaGetLastError();  // not an error: cleared so that the next launch does not report it
    return false;
  }
  cuda_check(status, "cudaEventQuery");
  return true;
}

void cuda_event_synchronize(cudaEvent_t event) { cuda_check(cudaEventSynchronize(event), "cudaEventSynchronize"); }

void cuda_copy(void* to, const void* from, size_t bytes, CopyKind kind, cudaStream_t stream) {
  if (bytes == 0) return;
  cudaMemcpyKind direction = cudaMemcpyDeviceToDevice;
  if (kind == CopyKind::host_to_device) direction = cudaMemcpyHostToDevice;
  if (kind == CopyKind::device_to_host) direction = cudaMemcpyDeviceToHost;
  cuda_check(cudaMemcpyAsync(to, from, bytes, direction, stream), "cudaMemcpyAsync");
}

void cuda_zero(void* data, size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return;
  cuda_check(cudaMemsetAsync(data, 0, bytes, stream), "cudaMemsetAsync");
}

// Relaxed: the arena may reserve memory during a capture, which touches no stream.
void cuda_capture_begin(cudaStream_t stream) {
  cuda_check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed), "cudaStreamBeginCapture");
}

cudaGraphExec_t cuda_capture_end(cudaStream_t stream) {
  cudaGraph_t graph = nullptr;
  cuda_check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  cuda_check(status, "cudaGraphInstantiate");
  return executable;
}

void cuda_capture_abandon(cudaStream_t stream) noexcept {
  cudaGraph_t graph = nullptr;
  cudaStreamEndCapture(stream, &graph);
  if (graph != nullptr) cudaGraphDestroy(graph);
  cudaGetLastError();  // the error that ended the capture has been thrown already
}

void cuda_graph_launch(cudaGraphExec_t graph, cudaStream_t stream) { cuda_check(cudaGraphLaunch(graph, stream), "cudaGraphLaunch"); }

void cuda_graph_destroy(cudaGraphExec_t graph) noexcept { cudaGraphExecDestroy(graph); }

CudaVersions cuda_versions() {
  CudaVersions versions;
  int number = 0;
  if (cudaDriverGetVersion(&number) == cudaSuccess) versions.driver = cuda_version_text(number);
  if (cudaRuntimeGetVersion(&number) == cudaSuccess) versions.runtime = cuda_version_text(number);
  cudaGetLastError();
  versions.cublaslt = version_or_empty([] {
    return library_version_text(static_cast<int64_t>(open_cublaslt().function<size_t (*)()>("cublasLtGetVersion")()));
  });
  versions.cudnn = version_or_empty([] {
    return library_version_text(static_cast<int64_t>(open_cudnn().function<size_t (*)()>("cudnnGetVersion")()));
  });
  versions.nccl = version_or_empty([] {
    int version = 0;
    const bool known = open_nccl().function<int (*)(int*)>("ncclGetVersion")(&version) == 0;
    return known ? library_version_text(version) : std::string();
  });
  return versions;
}

}  // namespace nemo::kernels
