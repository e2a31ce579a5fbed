#include "kernels/base/cuda_check.h"
#include "kernels/comm/call_mark.h"

namespace nemo::kernels {
namespace {

__global__ void mark_begin(CallMark* mark, uint64_t call) {
  volatile CallMark* seen_by_host = mark;
  seen_by_host->call = call;
  __threadfence_system();  // the number before the count that makes it valid
  seen_by_host->begun = seen_by_host->begun + 1;
  __threadfence_system();
}

__global__ void mark_end(CallMark* mark) {
  volatile CallMark* seen_by_host = mark;
  seen_by_host->ended = seen_by_host->ended + 1;
  __threadfence_system();
}

}  // namespace

void mark_begin_cuda(CallMark* mark, uint64_t call, cudaStream_t stream) {
  mark_begin<<<1, 1, 0, stream>>>(mark, call);
  check_launch("mark_begin");
}

void mark_end_cuda(CallMark* mark, cudaStream_t stream) {
  mark_end<<<1, 1, 0, stream>>>(mark);
  check_launch("mark_end");
}

}  // namespace nemo::kernels
