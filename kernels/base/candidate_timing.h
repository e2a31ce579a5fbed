// Picks the fastest of several ways to do the same work on the GPU. CUDA builds only.
// Not here: what the ways are (kernels/gemm, kernels/attention), keeping the choice (kernels/base/plan_book.h).
#pragma once
#include <cstddef>
#include <functional>
#include <optional>

#include "kernels/base/cuda_stream.h"

namespace nemo::kernels {

// run(i) queues way i of `count` on the stream and returns false where it cannot run. The ways take turns, so that
// clocks and heat favour none, and medians are compared, so that no lucky run wins: one look at all, then rounds among
// the best. Waits for the stream. Empty when no way runs.
std::optional<size_t> fastest_candidate(size_t count, const std::function<bool(size_t)>& run, cudaStream_t stream);

}  // namespace nemo::kernels
