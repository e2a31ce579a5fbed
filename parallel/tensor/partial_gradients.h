// Gradients of which each tensor rank holds a summand: norm weights where the stream is cut, shared key and value
// heads. Not here: sums over ranks with other samples (parallel/data).
#pragma once
#include "core/nn/parameter_store.h"
#include "parallel/comm/process_group.h"

namespace nemo {

// Replaces, in a buffer's gradients, each summand by the sum over the ranks that hold the same parameter. Once for what
// the ranks have accumulated, before anything else reads it.
void sum_partial_gradients(ExecContext& ctx, const FlatBuffer& flat, const ProcessGroup& tensor);

}  // namespace nemo
