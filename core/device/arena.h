// The caching allocator of one device: memory is taken from the system in segments, leased as buffers, and reused.
// Tags are accounting only. On meta the same policy runs over addresses that do not exist, which predicts the peak.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/device/device.h"

namespace nemo {

enum class MemoryTag : uint8_t { parameters, gradients, optimizer, activations, logits, workspace, cache, data, count };
std::string_view name(MemoryTag tag);
inline constexpr size_t kNumMemoryTags = static_cast<size_t>(MemoryTag::count);

struct ArenaStats {
  size_t live_bytes = 0, peak_bytes = 0;       // leased now, at most so far
  size_t reserved_bytes = 0;                   // taken from the system
  std::array<size_t, kNumMemoryTags> live_by_tag{}, at_peak_by_tag{};  // the second: when peak_bytes was reached
};

class Arena;

struct ReturnToArena {
  Arena* arena = nullptr;
  void operator()(void* data) const noexcept;
};

// A lease from an arena; move-only by construction.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  DeviceBuffer(Arena& arena, size_t bytes, MemoryTag tag);
  void* data() const { return data_.get(); }
  size_t bytes() const { return bytes_; }
  Arena* arena() const { return data_.get_deleter().arena; }
  void also_used_on(Stream& stream);  // goes back to the arena only after that stream's work so far

 private:
  std::unique_ptr<void, ReturnToArena> data_;
  size_t bytes_ = 0;
};

class Arena {
 public:
  // limit_bytes: refuse to reserve more than this; 0 = what the device has.
  explicit Arena(Device device, size_t limit_bytes = 0);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  Device device() const { return device_; }
  ArenaStats stats() const;

 private:
  friend class DeviceBuffer;
  friend struct ReturnToArena;
  struct Block;
  struct BySize { bool operator()(const Block* a, const Block* b) const; };

  void* lease(size_t bytes, MemoryTag tag);  // throws DeviceError naming the biggest tags when memory runs out
  void give_back(void* data) noexcept;
  void use_on(void* data, Stream& stream);

  Block* find_free(size_t bytes);
  Block* reserve_segment(size_t bytes);
  void release_free_segments();
  void make_free(Block* block);
  void collect_deferred();
  std::string out_of_memory_reason(size_t bytes) const;

  Device device_;
  size_t limit_bytes_;
  uintptr_t next_meta_address_ = 4096;
  mutable std::mutex mutex_;
  std::map<void*, std::unique_ptr<Block>> blocks_;  // all blocks by address
  std::set<Block*, BySize> free_;
  std::vector<Block*> deferred_;                    // given back, waiting for another stream's event
  ArenaStats stats_;
};

}  // namespace nemo
