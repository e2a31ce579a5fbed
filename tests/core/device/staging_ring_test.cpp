#include "core/device/staging_ring.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <vector>

#include "core/device/runtime.h"
#include "core/exec_context.h"
#include "core/ops/copy.h"

using namespace nemo;

namespace {

// Sends `count` different buffers without waiting, each to a place of its own; the device must see each as it was sent.
void send_all(Device device, size_t count) {
  Runtime runtime(device, false);
  ExecContext ctx(runtime, DType::fp32);
  constexpr int64_t kNumbers = 1 << 16;
  std::vector<Tensor> arrived;
  {
    StagingRing ring(device, kNumbers * sizeof(int32_t));
    for (size_t i = 0; i < count; ++i) {
      arrived.push_back(ctx.empty({kNumbers}, DType::int32));
      void* const memory = ring.next();
      const std::vector<int32_t> numbers(kNumbers, static_cast<int32_t>(i));
      std::memcpy(memory, numbers.data(), kNumbers * sizeof(int32_t));
      upload(ctx, arrived.back(), memory);
      ring.sent(runtime.stream());
    }
    CHECK(ring.num_buffers() >= 1);
    CHECK(ring.num_buffers() <= StagingRing::kMaxBuffers);
    if (device.is_cpu()) CHECK(ring.num_buffers() == 1);  // nothing is ever in flight
  }
  for (size_t i = 0; i < count; ++i) {
    std::vector<int32_t> numbers(kNumbers);
    download(ctx, numbers.data(), arrived[i]);
    CHECK(numbers == std::vector<int32_t>(kNumbers, static_cast<int32_t>(i)));
  }
}

}  // namespace

TEST_CASE("staged bytes arrive as they were sent", "[staging]") {
  send_all({}, 5);
}
TEST_CASE("staged bytes arrive as they were sent, more than there are buffers, on CUDA", "[.][cuda]") {
  send_all({.type = DeviceType::cuda}, 3 * StagingRing::kMaxBuffers);
}
