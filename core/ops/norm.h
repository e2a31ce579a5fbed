// Normalisation of rows, alone or fused with the residual addition before it.
#pragma once
#include "core/exec_context.h"
#include "core/nn/parameter.h"

namespace nemo {

// residual: x, or x + branch where a branch is given: the stream that goes on.
struct NormResult { Tensor y, residual; };

// x, branch [T, D] (branch may be undefined), weight, bias [D].
NormResult rms_norm(ExecContext& ctx, const Tensor& x, const Tensor& branch, const ParameterSpan& weight, float eps);
NormResult layer_norm(ExecContext& ctx, const Tensor& x, const Tensor& branch, const ParameterSpan& weight, const ParameterSpan& bias, float eps);

// Normalises each head of x [T, N, H] (token-strided allowed) over H: the query and key norm of Qwen 3. weight [H].
Tensor head_rms_norm(ExecContext& ctx, const Tensor& x, const ParameterSpan& weight, float eps);

}  // namespace nemo
