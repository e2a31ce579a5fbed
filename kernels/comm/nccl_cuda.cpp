#include "kernels/comm/nccl.h"

#include <nccl.h>

#include <cstring>
#include <memory>
#include <string>

#include "kernels/base/cuda_libraries.h"
#include "kernels/base/error.h"

namespace nemo::kernels {
namespace {

// The functions of libnccl.so.2 that are called here.
struct Functions {
  DynamicLibrary library = open_nccl();
  decltype(&ncclGetErrorString) error_text = library.function<decltype(&ncclGetErrorString)>("ncclGetErrorString");
  decltype(&ncclGetUniqueId) make_id = library.function<decltype(&ncclGetUniqueId)>("ncclGetUniqueId");
  decltype(&ncclCommInitRank) create = library.function<decltype(&ncclCommInitRank)>("ncclCommInitRank");
  decltype(&ncclCommDestroy) destroy = library.function<decltype(&ncclCommDestroy)>("ncclCommDestroy");
  decltype(&ncclCommAbort) abort = library.function<decltype(&ncclCommAbort)>("ncclCommAbort");
  decltype(&ncclAllReduce) all_reduce = library.function<decltype(&ncclAllReduce)>("ncclAllReduce");
  decltype(&ncclReduceScatter) reduce_scatter = library.function<decltype(&ncclReduceScatter)>("ncclReduceScatter");
  decltype(&ncclAllGather) all_gather = library.function<decltype(&ncclAllGather)>("ncclAllGather");
  decltype(&ncclBroadcast) broadcast = library.function<decltype(&ncclBroadcast)>("ncclBroadcast");
  decltype(&ncclSend) send = library.function<decltype(&ncclSend)>("ncclSend");
  decltype(&ncclRecv) receive = library.function<decltype(&ncclRecv)>("ncclRecv");
  decltype(&ncclGroupStart) group_start = library.function<decltype(&ncclGroupStart)>("ncclGroupStart");
  decltype(&ncclGroupEnd) group_end = library.function<decltype(&ncclGroupEnd)>("ncclGroupEnd");

  void check(ncclResult_t status, const char* call) const {
    if (status != ncclSuccess) throw CudaError(call, error_text(status));
  }
};

ncclDataType_t nccl_type(DType dtype) {
  switch (dtype) {
    case DType::fp32:
      return ncclFloat32;
    case DType::bf16:
      return ncclBfloat16;
    case DType::fp64:
      return ncclFloat64;
    case DType::int32:
      return ncclInt32;
    case DType::int64:
      return ncclInt64;
    case DType::uint8:
      return ncclUint8;
    default:
      throw CudaError("NCCL", std::string(name(dtype)) + " cannot be reduced");
  }
}

ncclRedOp_t nccl_operation(NcclReduction reduction) {
  return reduction == NcclReduction::sum ? ncclSum : ncclMax;
}

}  // namespace

class NcclCommunicator {
 public:
  Functions functions;
  ncclComm_t handle = nullptr;
};

static_assert(sizeof(ncclUniqueId) == sizeof(NcclId));

NcclId nccl_make_id() {
  const Functions functions;
  ncclUniqueId unique;
  functions.check(functions.make_id(&unique), "ncclGetUniqueId");
  NcclId id;
  std::memcpy(&id, &unique, sizeof(id));
  return id;
}

NcclCommunicator* nccl_create(const NcclId& id, int rank, int size) {
  auto communicator = std::make_unique<NcclCommunicator>();
  ncclUniqueId unique;
  std::memcpy(&unique, &id, sizeof(unique));
  communicator->functions.check(communicator->functions.create(&communicator->handle, size, unique, rank),
                                "ncclCommInitRank");
  return communicator.release();
}

void nccl_destroy(NcclCommunicator* communicator) noexcept {
  communicator->functions.destroy(communicator->handle);
  delete communicator;
}

void nccl_abort(NcclCommunicator* communicator) noexcept {
  communicator->functions.abort(communicator->handle);
  delete communicator;
}

void nccl_all_reduce(NcclCommunicator* communicator, void* data, size_t count, DType dtype, NcclReduction reduction,
                     cudaStream_t stream) {
  const Functions& nccl = communicator->functions;
  nccl.check(
      nccl.all_reduce(data, data, count, nccl_type(dtype), nccl_operation(reduction), communicator->handle, stream),
      "ncclAllReduce");
}

void nccl_reduce_scatter(NcclCommunicator* communicator, void* output, const void* input, size_t output_count,
                         DType dtype, NcclReduction reduction, cudaStream_t stream) {
  const Functions& nccl = communicator->functions;
  nccl.check(nccl.reduce_scatter(input, output, output_count, nccl_type(dtype), nccl_operation(reduction),
                                 communicator->handle, stream),
             "ncclReduceScatter");
}

void nccl_all_gather(NcclCommunicator* communicator, void* output, const void* input, size_t input_bytes,
                     cudaStream_t stream) {
  const Functions& nccl = communicator->functions;
  nccl.check(nccl.all_gather(input, output, input_bytes, ncclInt8, communicator->handle, stream), "ncclAllGather");
}

void nccl_broadcast(NcclCommunicator* communicator, void* data, size_t bytes, int root, cudaStream_t stream) {
  const Functions& nccl = communicator->functions;
  nccl.check(nccl.broadcast(data, data, bytes, ncclInt8, root, communicator->handle, stream), "ncclBroadcast");
}

void nccl_exchange(NcclCommunicator* communicator, std::span<const NcclSend> sends,
                   std::span<const NcclReceive> receives, cudaStream_t stream) {
  const Functions& nccl = communicator->functions;
  nccl.check(nccl.group_start(), "ncclGroupStart");
  ncclResult_t status = ncclSuccess;  // the group must be ended whatever happens inside
  for (const NcclSend& send : sends)
    if (send.bytes > 0 && status == ncclSuccess)
      status = nccl.send(send.data, send.bytes, ncclInt8, send.peer, communicator->handle, stream);
  for (const NcclReceive& receive : receives)
    if (receive.bytes > 0 && status == ncclSuccess)
      status = nccl.receive(receive.data, receive.bytes, ncclInt8, receive.peer, communicator->handle, stream);
  const ncclResult_t ended = nccl.group_end();
  nccl.check(status, "ncclSend or ncclRecv");
  nccl.check(ended, "ncclGroupEnd");
}

}  // namespace nemo::kernels
