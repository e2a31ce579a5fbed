// Host memory that a device can copy to and from without waiting: pinned for a GPU, ordinary otherwise. Move-only.
#pragma once
#include <cstddef>
#include <memory>

#include "core/device/device.h"

namespace nemo {

class HostBuffer {
 public:
  HostBuffer(Device device, size_t bytes);
  void* data() const { return data_.get(); }

 private:
  struct Free {
    bool pinned = false;
    void operator()(void* data) const noexcept;
  };
  std::unique_ptr<void, Free> data_;
};

}  // namespace nemo
