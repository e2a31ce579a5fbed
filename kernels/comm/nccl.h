// NCCL behind plain types, opened at first use: collectives of device memory on a stream.
// Not here: which ranks take part and why (parallel/comm).
#pragma once
#include <array>
#include <cstddef>
#include <span>

#include "kernels/base/cuda_stream.h"
#include "kernels/base/dtype.h"

namespace nemo::kernels {

class NcclCommunicator;
struct NcclId {
  std::array<char, 128> bytes;
};  // made by one rank, given to nccl_create by all of them
enum class NcclReduction { sum, max };
struct NcclSend {
  int peer;
  const void* data;
  size_t bytes;
};
struct NcclReceive {
  int peer;
  void* data;
  size_t bytes;
};

// CudaError when the library is absent or a call fails. Calls queue on the stream and do not wait; all members make the
// same ones in the same order. dtype of reductions: fp32 bf16 fp64 int32 int64 uint8.
NEMO_CUDA_KERNEL NcclId nccl_make_id();
NEMO_CUDA_KERNEL NcclCommunicator* nccl_create(const NcclId& id, int rank,
                                               int size);                     // waits for all; on the current device
NEMO_CUDA_KERNEL void nccl_destroy(NcclCommunicator* communicator) noexcept;  // after its streams' work
NEMO_CUDA_KERNEL void nccl_abort(NcclCommunicator* communicator) noexcept;    // work under way ends without a result
NEMO_CUDA_KERNEL void nccl_all_reduce(NcclCommunicator* communicator, void* data, size_t count, DType dtype,
                                      NcclReduction reduction, cudaStream_t stream);
NEMO_CUDA_KERNEL void nccl_reduce_scatter(NcclCommunicator* communicator, void* output, const void* input,
                                          size_t output_count, DType dtype, NcclReduction reduction,
                                          cudaStream_t stream);
NEMO_CUDA_KERNEL void nccl_all_gather(NcclCommunicator* communicator, void* output, const void* input,
                                      size_t input_bytes, cudaStream_t stream);
NEMO_CUDA_KERNEL void nccl_broadcast(NcclCommunicator* communicator, void* data, size_t bytes, int root,
                                     cudaStream_t stream);
NEMO_CUDA_KERNEL void nccl_exchange(NcclCommunicator* communicator, std::span<const NcclSend> sends,
                                    std::span<const NcclReceive> receives, cudaStream_t stream);

}  // namespace nemo::kernels
