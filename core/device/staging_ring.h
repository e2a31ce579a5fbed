// Host memory through which bytes go to a device again and again without waiting for it: a buffer is written anew only
// when the device has read it. Not here: what is sent.
#pragma once
#include <cstddef>
#include <optional>
#include <vector>

#include "core/device/device.h"
#include "core/device/host_buffer.h"

namespace nemo {

class StagingRing {
 public:
  StagingRing(Device device, size_t bytes) : device_(device), bytes_(bytes) {}
  ~StagingRing();  // waits for the device to have read everything
  StagingRing(const StagingRing&) = delete;
  StagingRing& operator=(const StagingRing&) = delete;

  // Memory of `bytes` that the device no longer reads. Takes more where all of it is in flight; only with kMaxBuffers
  // it waits.
  void* next();
  // All copies from the memory of the last next() are queued on the stream.
  void sent(Stream& stream);

  size_t num_buffers() const { return buffers_.size(); }
  static constexpr size_t kMaxBuffers = 32;

 private:
  struct Buffer {
    HostBuffer memory;
    std::optional<Event> read;  // empty: nobody reads it
  };

  Device device_;
  size_t bytes_;
  std::vector<Buffer> buffers_;  // in the order of use, from the one after current_
  size_t current_ = 0;
};

}  // namespace nemo
