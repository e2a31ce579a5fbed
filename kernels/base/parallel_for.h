// Threads for CPU kernels: fixed chunks, so that sums do not depend on the number of threads.
#pragma once
#include <algorithm>
#include <cstdint>

namespace nemo::kernels {

// Calls body(begin, end) for consecutive ranges of at most `grain` of [0, count). Ranges depend on grain alone.
template <class Body>
void parallel_for(int64_t count, int64_t grain, const Body& body) {
  const int64_t num_chunks = (count + grain - 1) / grain;
#pragma omp parallel for schedule(static) if (num_chunks > 1)
  for (int64_t chunk = 0; chunk < num_chunks; ++chunk) body(chunk * grain, std::min(count, (chunk + 1) * grain));
}

}  // namespace nemo::kernels
