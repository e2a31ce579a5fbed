// The CUDA runtime calls that core/device needs, behind plain types; opened at first use.
// Not here: kernels, allocation policy (core/arena).
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/base/cuda_stream.h"

struct CUevent_st;
using cudaEvent_t = CUevent_st*;
struct CUgraphExec_st;
using cudaGraphExec_t = CUgraphExec_st*;

namespace nemo::kernels {

struct CudaDeviceInfo { std::string name; size_t total_bytes = 0, free_bytes = 0; int major = 0, minor = 0, multiprocessors = 0; };

// Every call checks its return and throws nemo::kernels::CudaError (message, code) on failure.
// Returns the reason why no GPU can be used ("no libcuda.so.1", "driver too old", "no device"), empty when one can.
NEMO_CUDA_KERNEL std::string cuda_unavailable_reason();
NEMO_CUDA_KERNEL int cuda_device_count();
NEMO_CUDA_KERNEL CudaDeviceInfo cuda_device_info(int index);
NEMO_CUDA_KERNEL void cuda_set_device(int index);
NEMO_CUDA_KERNEL void* cuda_allocate(size_t bytes);            // null when out of memory
NEMO_CUDA_KERNEL void cuda_free(void* data) noexcept;
NEMO_CUDA_KERNEL void* cuda_allocate_pinned(size_t bytes);
NEMO_CUDA_KERNEL void cuda_free_pinned(void* data) noexcept;
NEMO_CUDA_KERNEL cudaStream_t cuda_stream_create();
NEMO_CUDA_KERNEL void cuda_stream_destroy(cudaStream_t stream) noexcept;
NEMO_CUDA_KERNEL void cuda_stream_synchronize(cudaStream_t stream);
NEMO_CUDA_KERNEL void cuda_stream_wait(cudaStream_t stream, cudaEvent_t event);
NEMO_CUDA_KERNEL cudaEvent_t cuda_event_create();
NEMO_CUDA_KERNEL void cuda_event_destroy(cudaEvent_t event) noexcept;
NEMO_CUDA_KERNEL void cuda_event_record(cudaEvent_t event, cudaStream_t stream);
NEMO_CUDA_KERNEL bool cuda_event_done(cudaEvent_t event);
NEMO_CUDA_KERNEL void cuda_event_synchronize(cudaEvent_t event);
NEMO_CUDA_KERNEL float cuda_event_elapsed_ms(cudaEvent_t start, cudaEvent_t end);  // both must be done
enum class CopyKind { host_to_device, device_to_host, device_to_device };
NEMO_CUDA_KERNEL void cuda_copy(void* to, const void* from, size_t bytes, CopyKind kind, cudaStream_t stream);
NEMO_CUDA_KERNEL void cuda_zero(void* data, size_t bytes, cudaStream_t stream);
// From begin to end the stream's work goes into a graph instead of the device. Memory may be allocated meanwhile; waiting for
// the stream is an error. After an error in between, abandon ends the capture.
NEMO_CUDA_KERNEL void cuda_capture_begin(cudaStream_t stream);
NEMO_CUDA_KERNEL cudaGraphExec_t cuda_capture_end(cudaStream_t stream);
NEMO_CUDA_KERNEL void cuda_capture_abandon(cudaStream_t stream) noexcept;
NEMO_CUDA_KERNEL void cuda_graph_launch(cudaGraphExec_t graph, cudaStream_t stream);
NEMO_CUDA_KERNEL void cuda_graph_destroy(cudaGraphExec_t graph) noexcept;
// Versions as "13.0", "9.19.0", empty where the library is absent.
struct CudaVersions { std::string driver, runtime, cublaslt, cudnn, nccl; };
NEMO_CUDA_KERNEL CudaVersions cuda_versions();

}  // namespace nemo::kernels
