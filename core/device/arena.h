// The caching allocator of one device: memory is taken from the system in segments, leased as buffers, and reused.
// Tags are accounting only. On meta the same policy runs over addresses that do not exist, which predicts the peak.
// What a step leases and gives back lies in a region of its own: a captured step finds it free whenever it is replayed.
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
#include <utility>
#include <vector>

#include "core/device/device.h"

namespace nemo {

enum class MemoryTag : uint8_t { parameters, gradients, optimizer, activations, logits, workspace, cache, data, count };
std::string_view name(MemoryTag tag);
inline constexpr size_t kNumMemoryTags = static_cast<size_t>(MemoryTag::count);

// lasting: lives on between steps. transient: given back before the work that leased it ends.
enum class Lifetime : uint8_t { lasting, transient };

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
  size_t transient_live_bytes() const;

  // Returns transient segments that nothing uses to the system; the stream must be idle.
  void release_transient();

 private:
  friend class DeviceBuffer;
  friend class LeaseScope;
  friend class TransientHold;
  friend struct ReturnToArena;
  struct Block;
  struct BySize { bool operator()(const Block* a, const Block* b) const; };

  void* lease(size_t bytes, MemoryTag tag);  // throws DeviceError naming the biggest tags when memory runs out
  void give_back(void* data) noexcept;
  void use_on(void* data, Stream& stream);

  Block* find_free(size_t bytes);
  Block* reserve_segment(size_t bytes);
  enum class Release : uint8_t { all_free, transient };
  void release_free_segments(Release which);
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
  Lifetime lifetime_ = Lifetime::lasting;           // of the leases to come
  size_t transient_live_bytes_ = 0;
  int transient_holds_ = 0;
};

// Leases taken while this lives have this lifetime. Of the thread that queues the arena's work.
class LeaseScope {
 public:
  LeaseScope(Arena& arena, Lifetime lifetime) : arena_(arena), before_(std::exchange(arena.lifetime_, lifetime)) {}
  ~LeaseScope() { arena_.lifetime_ = before_; }
  LeaseScope(const LeaseScope&) = delete;
  LeaseScope& operator=(const LeaseScope&) = delete;

 private:
  Arena& arena_;
  Lifetime before_;
};

// While this lives, transient memory stays reserved: a captured graph has its addresses. It may be leased by others between two
// replays, because all of them work in stream order.
class TransientHold {
 public:
  explicit TransientHold(Arena& arena);
  ~TransientHold();
  TransientHold(const TransientHold&) = delete;
  TransientHold& operator=(const TransientHold&) = delete;

 private:
  Arena& arena_;
};

}  // namespace nemo
