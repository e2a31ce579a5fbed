#include "core/device/host_buffer.h"

#include <cstdlib>
#include <new>

#include "kernels/base/cuda_device.h"

namespace nemo {

void HostBuffer::Free::operator()(void* data) const noexcept {
  if (pinned) kernels::cuda_free_pinned(data); else std::free(data);
}

HostBuffer::HostBuffer(Device device, size_t bytes)
    : data_(device.is_cuda() ? kernels::cuda_allocate_pinned(bytes) : std::calloc(1, bytes), Free{device.is_cuda()}) {
  if (data_ == nullptr) throw std::bad_alloc();
}

}  // namespace nemo
