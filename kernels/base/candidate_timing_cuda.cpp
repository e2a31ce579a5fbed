#include "kernels/base/candidate_timing.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/base/cuda_check.h"

namespace nemo::kernels {
namespace {

struct EventPair {
  cudaEvent_t begin = nullptr, end = nullptr;
  EventPair() {
    cuda_check(cudaEventCreate(&begin), "cudaEventCreate");
    const cudaError_t status = cudaEventCreate(&end);
    if (status != cudaSuccess) cudaEventDestroy(begin);
    cuda_check(status, "cudaEventCreate");
  }
  EventPair(const EventPair&) = delete;
  ~EventPair() {
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
  }
};

struct Candidate {
  size_t index;
  float ms;  // median of the last round
};

float median(std::vector<float> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// `trials` turns, each way `repeats` times in a row; all is queued before the host waits, so the device is never idle
// between two launches. Sorted, fastest first.
void time_round(std::vector<Candidate>& candidates, size_t trials, int repeats, const std::function<bool(size_t)>& run,
                cudaStream_t stream) {
  const std::vector<EventPair> events(candidates.size() * trials);
  for (size_t trial = 0; trial < trials; ++trial) {
    for (size_t i = 0; i < candidates.size(); ++i) {
      const size_t at = trial % 2 == 0 ? i : candidates.size() - 1 - i;
      const EventPair& pair = events[at * trials + trial];
      cuda_check(cudaEventRecord(pair.begin, stream), "cudaEventRecord");
      for (int repeat = 0; repeat < repeats; ++repeat) run(candidates[at].index);
      cuda_check(cudaEventRecord(pair.end, stream), "cudaEventRecord");
    }
  }
  cuda_check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  for (size_t at = 0; at < candidates.size(); ++at) {
    std::vector<float> ms(trials);
    for (size_t trial = 0; trial < trials; ++trial) {
      const EventPair& pair = events[at * trials + trial];
      cuda_check(cudaEventElapsedTime(&ms[trial], pair.begin, pair.end), "cudaEventElapsedTime");
    }
    candidates[at].ms = median(std::move(ms)) / static_cast<float>(repeats);
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.ms < b.ms; });
}

void keep_best(std::vector<Candidate>& candidates, size_t count) {
  if (candidates.size() > count) candidates.resize(count);
}

}  // namespace

std::optional<size_t> fastest_candidate(size_t count, const std::function<bool(size_t)>& run, cudaStream_t stream) {
  std::vector<Candidate> candidates;
  for (size_t i = 0; i < count; ++i)  // the first launch of a kernel loads it
    if (run(i)) candidates.push_back({i, 0});
  cuda_check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  if (candidates.empty()) return std::nullopt;
  if (candidates.size() == 1) return candidates.front().index;

  constexpr float kTrialMs = 0.1f;   // short work is repeated, so that a trial is well over the resolution of an event
  constexpr float kHopeless = 1.3f;  // times the best at first look
  time_round(candidates, 2, 1, run, stream);
  std::erase_if(candidates,
                [limit = candidates.front().ms * kHopeless](const Candidate& each) { return each.ms > limit; });
  keep_best(candidates, 8);
  const int repeats = std::clamp(static_cast<int>(std::ceil(kTrialMs / std::max(candidates.front().ms, 1e-3f))), 1, 20);
  time_round(candidates, 5, repeats, run, stream);
  keep_best(candidates, 3);
  time_round(candidates, 9, repeats, run, stream);
  return candidates.front().index;
}

}  // namespace nemo::kernels
