// Runs a CPU kernel with one and with two OpenMP threads and compares the bits.
#pragma once
#include <omp.h>

#include "tests/kernels/device_array.h"

namespace nemo::testing {

// run() returns what the kernel wrote, as a vector.
template <class Run>
void check_same_bits_for_any_thread_count(const Run& run) {
  const int before = omp_get_max_threads();
  omp_set_num_threads(1);
  const auto one = run();
  omp_set_num_threads(2);
  const auto two = run();
  omp_set_num_threads(before);
  CHECK(same_bits(one, two));
}

}  // namespace nemo::testing
