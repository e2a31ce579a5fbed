#include "core/device/staging_ring.h"

namespace nemo {

StagingRing::~StagingRing() {
  for (const Buffer& buffer : buffers_)
    if (buffer.read) buffer.read->synchronize();
}

void* StagingRing::next() {
  const size_t oldest = buffers_.empty() ? 0 : (current_ + 1) % buffers_.size();
  const bool free = !buffers_.empty() && (!buffers_[oldest].read || buffers_[oldest].read->done());
  if (free || buffers_.size() == kMaxBuffers) {
    current_ = oldest;
    if (buffers_[current_].read) buffers_[current_].read->synchronize();
    buffers_[current_].read.reset();
  } else {
    current_ = buffers_.empty() ? 0 : current_ + 1;  // before the oldest
    buffers_.insert(buffers_.begin() + static_cast<std::ptrdiff_t>(current_),
                    Buffer{HostBuffer(device_, bytes_), std::nullopt});
  }
  return buffers_[current_].memory.data();
}

void StagingRing::sent(Stream& stream) {
  buffers_[current_].read.emplace(stream);
}

}  // namespace nemo
