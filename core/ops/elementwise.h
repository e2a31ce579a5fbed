// Pointwise ops and the splitting of packed columns.
#pragma once
#include <span>
#include <vector>

#include "core/exec_context.h"

namespace nemo {

// a + b, shapes alike and contiguous.
Tensor add(ExecContext& ctx, const Tensor& a, const Tensor& b);

// The sum of two gradients of one value, written over one of them where nobody else reads it.
Tensor add_gradients(ExecContext& ctx, Tensor a, Tensor b);

void add_to(ExecContext& ctx, const Tensor& sum, const Tensor& addend);  // sum += addend, contiguous, not recorded

// x [T, sum(columns)] -> slices of it [T, columns[i]] that share its memory. In the backward the gradients are joined
// without a copy when their maker wrote them side by side.
std::vector<Tensor> split_columns(ExecContext& ctx, const Tensor& x, std::span<const int64_t> columns);

// x [T, D]; a draw depends on (site, step, token_ids[t], column). Returns x itself when not training or rate is 0.
Tensor dropout(ExecContext& ctx, const Tensor& x, float rate, uint64_t site, const Tensor& token_ids);

}  // namespace nemo
