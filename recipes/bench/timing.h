// How a bench times device work: events around launches, medians over samples.
// Not here: what is launched (recipes/bench/kernel_case.h, bench_gemm.h), whole training steps (bench_train.h).
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "core/device/runtime.h"
#include "kernels/base/dtype.h"

namespace nemo {

struct Spread {
  double median = 0, min = 0, max = 0;
};
Spread spread_of(std::vector<double> values);  // of at least one

// Milliseconds of one launch. `launch` gets the number of the launch, to take turns between buffers. Launches that are
// much shorter than sample_ms are timed in groups, so that the events around them do not count. Waits for the device.
struct TimingOptions {
  int64_t num_samples = 20;
  double sample_ms = 1;     // a group of launches lasts at least this
  double budget_ms = 2000;  // fewer samples, though three, where they would take longer
};
Spread time_launches(Runtime& runtime, const std::function<void(int64_t)>& launch, const TimingOptions& options = {});

// So many copies of `bytes` that going through them in turn finds none of them in a cache.
int64_t copies_beyond_cache(size_t bytes);

// TFLOP/s of a square product of random numbers: bf16 8192 or fp32 4096 wide on a GPU, fp32 1024 wide on a CPU.
struct GemmPeak {
  double tflops = 0;
  int64_t size = 0;
};
GemmPeak measure_gemm_peak(Runtime& runtime, DType dtype);

// Bytes per second, read and written ones together, of a copy far larger than the caches.
double measure_copy_rate(Runtime& runtime);

}  // namespace nemo
