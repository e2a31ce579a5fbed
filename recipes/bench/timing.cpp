#include "recipes/bench/timing.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/exec_context.h"
#include "core/ops/copy.h"
#include "core/ops/linear.h"
#include "kernels/base/parallel_for.h"
#include "recipes/bench/random_tensor.h"

namespace nemo {

Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  const double median = values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return {.median = median, .min = values.front(), .max = values.back()};
}

Spread time_launches(Runtime& runtime, const std::function<void(int64_t)>& launch, const TimingOptions& options) {
  Stream& stream = runtime.stream();
  int64_t number = 0;
  const auto group = [&](int64_t size) {
    for (int64_t i = 0; i < size; ++i) launch(number++);
  };
  const auto timed_group = [&](int64_t size) {
    const Event start(stream);
    group(size);
    const Event end(stream);
    end.synchronize();
    return Event::milliseconds_between(start, end);
  };
  group(1);  // opens libraries, picks algorithms
  stream.synchronize();
  timed_group(2);
  const double once_ms = std::max(timed_group(2) / 2, 1e-4);
  const auto size = static_cast<int64_t>(std::clamp(std::ceil(options.sample_ms / once_ms), 1.0, 2000.0));
  const double sample_ms = once_ms * static_cast<double>(size);
  const int64_t samples =
      std::clamp<int64_t>(static_cast<int64_t>(options.budget_ms / sample_ms), 3, options.num_samples);

  // All is queued before anything is waited for: the device does not idle between samples.
  std::vector<Event> ends;
  ends.emplace_back(stream);
  for (int64_t i = 0; i < samples; ++i) {
    group(size);
    ends.emplace_back(stream);
  }
  ends.back().synchronize();
  std::vector<double> ms;
  for (size_t i = 1; i < ends.size(); ++i)
    ms.push_back(Event::milliseconds_between(ends[i - 1], ends[i]) / static_cast<double>(size));
  return spread_of(std::move(ms));
}

int64_t copies_beyond_cache(size_t bytes) {
  constexpr size_t kBeyondCache = size_t{192} << 20;  // several times the second-level cache of the GPUs we know
  return static_cast<int64_t>(std::clamp<size_t>(kBeyondCache / std::max<size_t>(bytes, 1) + 1, 1, 16));
}

GemmPeak measure_gemm_peak(Runtime& runtime, DType dtype) {
  const bool cuda = runtime.device().is_cuda();
  if (!cuda) dtype = DType::fp32;
  ExecContext ctx(runtime, dtype);
  const int64_t size = !cuda ? 1024 : dtype == DType::fp32 ? 4096 : 8192;
  const Tensor a = random_tensor(ctx, {size, size}, dtype, 1), b = random_tensor(ctx, {size, size}, dtype, 2),
               c = ctx.empty({size, size}, dtype);
  const Spread ms = time_launches(runtime, [&](int64_t) { gemm(ctx, c, a, b, {.transpose_b = true}); });
  return {
      .tflops = 2e-9 * static_cast<double>(size) * static_cast<double>(size) * static_cast<double>(size) / ms.median,
      .size = size};
}

double measure_copy_rate(Runtime& runtime) {
  ExecContext ctx(runtime, DType::fp32);
  const int64_t bytes = runtime.device().is_cuda() ? int64_t{1} << 30 : int64_t{128} << 20;
  const Tensor from = ctx.empty({bytes}, DType::uint8), to = ctx.empty({bytes}, DType::uint8);
  zero(ctx, from);
  const Spread ms = time_launches(runtime, [&](int64_t) {
    if (runtime.device().is_cuda()) return copy(ctx, to, from);
    // One thread does not reach a processor's memory rate.
    kernels::parallel_for(bytes, int64_t{1} << 20, [&](int64_t begin, int64_t end) {
      std::memcpy(to.data<uint8_t>() + begin, from.data<uint8_t>() + begin, static_cast<size_t>(end - begin));
    });
  });
  return 2 * static_cast<double>(bytes) / (ms.median * 1e-3);
}

}  // namespace nemo
