// Softmax cross entropy on a chunk of logits: per-token log-probabilities, and the logits' gradient in place.
#pragma once
#include <cstdint>

#include "kernels/base/cuda_stream.h"
#include "kernels/base/dtype.h"
#include "kernels/base/step_state.h"

namespace nemo::kernels {

inline constexpr int32_t kIgnoredLabel = -100;
inline constexpr int32_t kForeignLabel = -101;  // counts, but its class belongs to another rank's slice of the vocabulary

// Row r: log_prob[r] = logits[r, label] - lse[r], lse[r] = log sum_c exp(logits[r, c]) over the first `classes` columns
// (the rest of `stride` is vocabulary padding and takes no part). Rows with label kIgnoredLabel or kForeignLabel: log_prob 0.
// softcap c > 0: logits are c * tanh(raw / c).
//   logits [rows, stride] T (float | bf16)    labels [rows] int32    log_prob, lse [rows] fp32
struct CrossEntropyShape { int64_t rows, classes, stride; float softcap = 0; };
template <class T>
void cross_entropy_forward_cpu(float* log_prob, float* lse, const T* logits, const int32_t* labels, const CrossEntropyShape& shape);
template <class T>
NEMO_CUDA_KERNEL void cross_entropy_forward_cuda(float* log_prob, float* lse, const T* logits, const int32_t* labels,
                                                 const CrossEntropyShape& shape, cudaStream_t stream);

// In place: logits[r, c] <- dlog_prob[r] * ([c == label] - softmax(logits[r])[c]) (times softcap's derivative); zero for
// ignored rows and padded columns; no column is the label of a foreign one. With dlog_prob null every token weighs -state->inverse_loss_denominator (pretraining).
template <class T>
void cross_entropy_backward_cpu(T* logits, const float* lse, const int32_t* labels, const float* dlog_prob, const StepState* state,
                                const CrossEntropyShape& shape);
template <class T>
NEMO_CUDA_KERNEL void cross_entropy_backward_cuda(T* logits, const float* lse, const int32_t* labels, const float* dlog_prob,
                                                  const StepState* state, const CrossEntropyShape& shape, cudaStream_t stream);

// Both at once, for token weights that are known beforehand (dlog_prob null above): log_prob and lse as the forward gives them,
// logits as the backward leaves them. Each row is read from memory and written to it once.
template <class T>
void cross_entropy_forward_backward_cpu(float* log_prob, float* lse, T* logits, const int32_t* labels, const StepState* state,
                                        const CrossEntropyShape& shape);
template <class T>
NEMO_CUDA_KERNEL void cross_entropy_forward_backward_cuda(float* log_prob, float* lse, T* logits, const int32_t* labels,
                                                          const StepState* state, const CrossEntropyShape& shape, cudaStream_t stream);

// state->loss_sum += sum over r of -log_prob[r], added in a fixed order in fp64.
void loss_sum_cpu(StepState* state, const float* log_prob, int64_t rows);
NEMO_CUDA_KERNEL void loss_sum_cuda(StepState* state, const float* log_prob, int64_t rows, cudaStream_t stream);

}  // namespace nemo::kernels
