// Sums or maxima of one vector from each rank, taken in rank order. In parallel/ and not among the CPU kernels because
// those are compiled to reorder sums. Not here: how the vectors came together (host_communicator.h).
#pragma once
#include <cstdint>
#include <span>

#include "kernels/base/dtype.h"
#include "parallel/comm/process_group.h"

namespace nemo {

// out[i] = inputs[0][i] + inputs[1][i] + ...; bf16 is summed in fp32 and rounded once, other types in their own.
// out may be one of the inputs. A maximum with a NaN in it is NaN. dtype: fp32 bf16 fp64 int32 int64 uint8.
void reduce_in_rank_order(void* out, std::span<const void* const> inputs, int64_t count, DType dtype,
                          Reduction reduction);

}  // namespace nemo
