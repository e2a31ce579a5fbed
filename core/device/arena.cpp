#include "core/device/arena.h"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <numeric>

#include "core/error.h"
#include "kernels/base/cuda_device.h"

namespace nemo {
namespace {

constexpr size_t kAlignment = 512;               // of every lease; serves 16-byte vector access and cuBLASLt's best kernels
constexpr size_t kSmallLimit = size_t{1} << 20;  // leases up to this share small segments, so they do not splinter large ones
constexpr size_t kSmallSegment = size_t{8} << 20;
constexpr size_t kLargeSegment = size_t{32} << 20;

size_t round_up(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

std::string mebibytes(size_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

}  // namespace

struct Arena::Block {
  void* data;
  size_t bytes, leased_bytes = 0;
  bool small, free = true, first_of_segment, last_of_segment = true;
  Lifetime lifetime;
  MemoryTag tag = MemoryTag::workspace;
  std::vector<Event> pending = {};
};

bool Arena::BySize::operator()(const Block* a, const Block* b) const {
  return a->bytes != b->bytes ? a->bytes < b->bytes : std::less<void*>{}(a->data, b->data);
}

std::string_view name(MemoryTag tag) {
  switch (tag) {
    case MemoryTag::parameters: return "parameters";
    case MemoryTag::gradients: return "gradients";
    case MemoryTag::optimizer: return "optimizer";
    case MemoryTag::activations: return "activations";
    case MemoryTag::logits: return "logits";
    case MemoryTag::workspace: return "workspace";
    case MemoryTag::cache: return "cache";
    case MemoryTag::data: return "data";
    case MemoryTag::count: break;
  }
  return "?";
}

DeviceBuffer::DeviceBuffer(Arena& arena, size_t bytes, MemoryTag tag)
    : data_(bytes == 0 ? nullptr : arena.lease(bytes, tag), ReturnToArena{&arena}), bytes_(bytes) {}
void ReturnToArena::operator()(void* data) const noexcept { arena->give_back(data); }
void DeviceBuffer::also_used_on(Stream& stream) {
  if (data_ != nullptr) arena()->use_on(data_.get(), stream);
}

TransientHold::TransientHold(Arena& arena) : arena_(arena) {
  std::lock_guard lock(arena_.mutex_);
  ++arena_.transient_holds_;
}
TransientHold::~TransientHold() {
  std::lock_guard lock(arena_.mutex_);
  --arena_.transient_holds_;
}

Arena::Arena(Device device, size_t limit_bytes) : device_(device), limit_bytes_(limit_bytes) {}

Arena::~Arena() {
  for (auto& [data, block] : blocks_) {
    if (!block->first_of_segment) continue;
    if (device_.is_cuda()) kernels::cuda_free(data);
    if (device_.is_cpu()) std::free(data);
  }
}

ArenaStats Arena::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

void* Arena::lease(size_t bytes, MemoryTag tag) {
  std::lock_guard lock(mutex_);
  const size_t rounded = round_up(bytes, kAlignment);
  collect_deferred();
  Block* block = find_free(rounded);
  if (block == nullptr) block = reserve_segment(rounded);
  free_.erase(block);
  if (block->bytes > rounded) {  // the rest stays free
    auto rest = std::make_unique<Block>(Block{.data = static_cast<char*>(block->data) + rounded, .bytes = block->bytes - rounded,
                                              .small = block->small, .first_of_segment = false, .last_of_segment = block->last_of_segment, .lifetime = block->lifetime});
    block->bytes = rounded;
    block->last_of_segment = false;
    free_.insert(rest.get());
    blocks_.emplace(rest->data, std::move(rest));
  }
  block->free = false;
  block->tag = tag;
  block->leased_bytes = rounded;
  stats_.live_bytes += rounded;
  if (block->lifetime == Lifetime::transient) transient_live_bytes_ += rounded;
  stats_.live_by_tag[static_cast<size_t>(tag)] += rounded;
  if (stats_.live_bytes > stats_.peak_bytes) {
    stats_.peak_bytes = stats_.live_bytes;
    stats_.at_peak_by_tag = stats_.live_by_tag;
  }
  return block->data;
}

Arena::Block* Arena::find_free(size_t bytes) {
  const bool small = bytes <= kSmallLimit;
  Block probe{.data = nullptr, .bytes = bytes, .small = small, .first_of_segment = false, .lifetime = lifetime_};
  for (auto it = free_.lower_bound(&probe); it != free_.end(); ++it)
    if ((*it)->small == small && (*it)->lifetime == lifetime_) return *it;
  return nullptr;
}

Arena::Block* Arena::reserve_segment(size_t bytes) {
  const bool small = bytes <= kSmallLimit;
  const size_t segment = small ? kSmallSegment : round_up(bytes, kLargeSegment);
  void* data = nullptr;
  for (int attempt = 0; attempt < 2 && data == nullptr; ++attempt) {
    if (attempt == 1) release_free_segments(Release::all_free);
    if (limit_bytes_ != 0 && stats_.reserved_bytes + segment > limit_bytes_) continue;
    if (device_.is_meta()) {
      data = reinterpret_cast<void*>(next_meta_address_);
      next_meta_address_ += segment + kAlignment;  // a gap, as between two real segments
    } else if (device_.is_cuda()) {
      data = kernels::cuda_allocate(segment);
    } else {
      data = std::aligned_alloc(4096, segment);
    }
  }
  if (data == nullptr) throw DeviceError{to_string(device_), "out of memory", out_of_memory_reason(bytes),
                                         "a smaller data.micro_batch_size or model.seq_length, model.recompute_granularity=full, trainer.precision=bf16"};
  stats_.reserved_bytes += segment;
  auto block = std::make_unique<Block>(Block{.data = data, .bytes = segment, .small = small, .first_of_segment = true, .lifetime = lifetime_});
  Block* result = block.get();
  free_.insert(result);
  blocks_.emplace(data, std::move(block));
  return result;
}

void Arena::release_transient() {
  std::lock_guard lock(mutex_);
  collect_deferred();
  release_free_segments(Release::transient);
}

size_t Arena::transient_live_bytes() const {
  std::lock_guard lock(mutex_);
  return transient_live_bytes_;
}

void Arena::release_free_segments(Release which) {
  for (auto it = blocks_.begin(); it != blocks_.end();) {
    Block* block = it->second.get();
    const bool transient = block->lifetime == Lifetime::transient;
    const bool kept = transient ? transient_holds_ > 0 : which == Release::transient;
    if (kept || !block->free || !block->first_of_segment || !block->last_of_segment) {
      ++it;
      continue;
    }
    if (device_.is_cuda()) kernels::cuda_free(block->data);
    if (device_.is_cpu()) std::free(block->data);
    stats_.reserved_bytes -= block->bytes;
    free_.erase(block);
    it = blocks_.erase(it);
  }
}

void Arena::give_back(void* data) noexcept {
  std::lock_guard lock(mutex_);
  Block* block = blocks_.find(data)->second.get();
  stats_.live_bytes -= block->leased_bytes;
  stats_.live_by_tag[static_cast<size_t>(block->tag)] -= block->leased_bytes;
  if (block->lifetime == Lifetime::transient) transient_live_bytes_ -= block->leased_bytes;
  if (block->pending.empty()) {
    make_free(block);
  } else {
    deferred_.push_back(block);
  }
}

void Arena::make_free(Block* block) {
  auto it = blocks_.find(block->data);
  block->free = true;
  if (!block->last_of_segment) {
    auto next = std::next(it);
    if (next->second->free) {
      free_.erase(next->second.get());
      block->bytes += next->second->bytes;
      block->last_of_segment = next->second->last_of_segment;
      blocks_.erase(next);
    }
  }
  if (!block->first_of_segment) {
    auto previous = std::prev(it);
    if (previous->second->free) {
      Block* before = previous->second.get();
      free_.erase(before);
      before->bytes += block->bytes;
      before->last_of_segment = block->last_of_segment;
      blocks_.erase(it);
      block = before;
    }
  }
  free_.insert(block);
}

void Arena::use_on(void* data, Stream& stream) {
  std::lock_guard lock(mutex_);
  blocks_.find(data)->second->pending.emplace_back(stream);
}

void Arena::collect_deferred() {
  std::erase_if(deferred_, [this](Block* block) {
    if (!std::all_of(block->pending.begin(), block->pending.end(), [](const Event& event) { return event.done(); })) return false;
    block->pending.clear();
    make_free(block);
    return true;
  });
}

std::string Arena::out_of_memory_reason(size_t bytes) const {
  std::array<size_t, kNumMemoryTags> order;
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return stats_.live_by_tag[a] > stats_.live_by_tag[b]; });
  std::string reason = "no " + mebibytes(bytes) + " free; " + mebibytes(stats_.live_bytes) + " in use";
  for (size_t i = 0; i < 3 && stats_.live_by_tag[order[i]] > 0; ++i)
    reason += (i == 0 ? " (" : ", ") + std::string(name(static_cast<MemoryTag>(order[i]))) + " " + mebibytes(stats_.live_by_tag[order[i]]);
  return stats_.live_bytes > 0 ? reason + ")" : reason;
}

}  // namespace nemo
