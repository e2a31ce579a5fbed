#include "core/device/arena.h"

#include <catch2/catch.hpp>
#include <set>
#include <vector>

#include "core/error.h"

using namespace nemo;

namespace {

constexpr size_t kMiB = size_t{1} << 20;

Device device_of(bool meta) {
  return meta ? Device{.type = DeviceType::meta} : Device{};
}

DeviceBuffer lease(Arena& arena, size_t bytes) {
  return DeviceBuffer(arena, bytes, MemoryTag::activations);
}

}  // namespace

TEST_CASE("what a step leases never lies where lasting memory does, before or after", "[arena]") {
  const bool meta = GENERATE(false, true);
  const size_t bytes = GENERATE(size_t{1000}, 3 * kMiB);
  Arena arena(device_of(meta));
  std::set<void*> in_step;
  for (int step = 0; step < 2; ++step) {
    const LeaseScope transient(arena, Lifetime::transient);
    std::vector<DeviceBuffer> buffers;
    for (int i = 0; i < 5; ++i) buffers.push_back(lease(arena, bytes));
    for (const DeviceBuffer& buffer : buffers) in_step.insert(buffer.data());
    CHECK(arena.transient_live_bytes() >= 5 * bytes);
    const LeaseScope lasting(arena, Lifetime::lasting);  // made at first use, inside a step
    const size_t before = arena.transient_live_bytes();
    const DeviceBuffer kept = lease(arena, bytes);
    CHECK(arena.transient_live_bytes() == before);
    CHECK_FALSE(in_step.contains(kept.data()));
  }
  CHECK(in_step.size() == 5);  // the second step found the first one's memory
  CHECK(arena.transient_live_bytes() == 0);
  for (int i = 0; i < 5; ++i) CHECK_FALSE(in_step.contains(lease(arena, bytes).data()));
}

TEST_CASE("lifetimes do not change the peak", "[arena]") {
  Arena plain({}), split({});
  for (Arena* arena : {&plain, &split}) {
    const DeviceBuffer weights = lease(*arena, 5 * kMiB);
    const LeaseScope scope(*arena, arena == &split ? Lifetime::transient : Lifetime::lasting);
    const DeviceBuffer a = lease(*arena, 7 * kMiB), b = lease(*arena, 100);
  }
  CHECK(plain.stats().peak_bytes == split.stats().peak_bytes);
  CHECK(plain.stats().live_bytes == 0);
  CHECK(split.stats().live_bytes == 0);
}

TEST_CASE("transient memory can go back to the system until somebody holds its addresses", "[arena]") {
  Arena arena({}, 64 * kMiB);
  const auto use_transient = [&] {
    const LeaseScope transient(arena, Lifetime::transient);
    lease(arena, 40 * kMiB);
  };
  use_transient();
  CHECK(arena.stats().reserved_bytes == 64 * kMiB);
  lease(arena, 33 * kMiB);  // fits only where the step's memory was
  CHECK(arena.stats().reserved_bytes == 64 * kMiB);

  lease(arena, 10 * kMiB);
  arena.release_transient();
  CHECK(arena.stats().reserved_bytes == 64 * kMiB);  // lasting segments stay
  use_transient();
  {
    const TransientHold hold(arena);
    arena.release_transient();
    CHECK(arena.stats().reserved_bytes == 64 * kMiB);
    CHECK_THROWS_AS(lease(arena, 33 * kMiB), DeviceError);
    use_transient();  // the held memory itself may be leased meanwhile
  }
  arena.release_transient();
  CHECK(arena.stats().reserved_bytes == 0);
}
