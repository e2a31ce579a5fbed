// Counter-based random numbers: Philox-4x32-10, Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
// One draw is a pure function of (key, counter), so any mesh, device or order of evaluation sees the same numbers.
#pragma once
#include <cmath>
#include <cstdint>

#include "kernels/base/dtype.h"

namespace nemo::kernels {

struct Philox4 { uint32_t x, y, z, w; };

// Who draws: `seed` of the run, `site` (hash of a parameter path or of a dropout's place in the model), `step`.
// step is read by kernels from StepState where a captured graph must replay with new numbers.
struct RandomKey { uint64_t seed = 0, site = 0; };

NEMO_HOST_DEVICE inline Philox4 philox(RandomKey key, uint64_t step, uint64_t index) {
  uint64_t mixed = key.seed * 0x9E3779B97F4A7C15ull ^ (key.site + 0xD1B54A32D192ED03ull * (step + 1));
  mixed ^= mixed >> 32; mixed *= 0xD6E8FEB86659FD93ull; mixed ^= mixed >> 32;
  uint32_t k0 = static_cast<uint32_t>(mixed), k1 = static_cast<uint32_t>(mixed >> 32);
  Philox4 c{static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), static_cast<uint32_t>(key.site),
            static_cast<uint32_t>(step)};
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = 0xD2511F53ull * c.x, p1 = 0xCD9E8D57ull * c.z;
    c = Philox4{static_cast<uint32_t>(p1 >> 32) ^ c.y ^ k0, static_cast<uint32_t>(p1),
                static_cast<uint32_t>(p0 >> 32) ^ c.w ^ k1, static_cast<uint32_t>(p0)};
    k0 += 0x9E3779B9u; k1 += 0xBB67AE85u;
  }
  return c;
}

// Uniform in [0, 1): 24 bits, exact in fp32.
NEMO_HOST_DEVICE inline float uniform(uint32_t bits) { return static_cast<float>(bits >> 8) * 0x1p-24f; }

// Standard normal, Box-Muller. The logarithm's argument is in (0, 1].
NEMO_HOST_DEVICE inline float standard_normal(uint32_t a, uint32_t b) {
  return sqrtf(-2.0f * logf(1.0f - uniform(a))) * cosf(6.28318530717958647692f * uniform(b));
}

}  // namespace nemo::kernels
