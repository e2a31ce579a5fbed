// Attention over sequences that lie over several ranks, in three ways. Each keeps what the local one keeps and fetches
// other ranks' keys and values again in the backward.  Not here: which tokens are whose (sequence_cut.h), the passes
// (core/ops).
#pragma once
#include "core/nn/attention_core.h"
#include "parallel/comm/process_group.h"

namespace nemo {

// Every rank gathers all keys and values. The memory of one layer's keys and values for the whole sequence, for a
// moment.
class GatheredAttention final : public AttentionCore {
 public:
  GatheredAttention(const AttentionOptions& options, ProcessGroup context)
      : AttentionCore(options), context_(std::move(context)) {}
  Tensor forward(ExecContext& ctx, const Tensor& q, const Tensor& k, const Tensor& v, const TokenLayout& tokens,
                 int64_t layer) const override;

 private:
  ProcessGroup context_;
};

// Keys and values go round; the results over each rank's are merged by their softmax sums, while the next are on their
// way.
//   Liu et al. 2023 (ring attention), arXiv:2310.01889.
class RingAttention final : public AttentionCore {
 public:
  RingAttention(const AttentionOptions& options, ProcessGroup context)
      : AttentionCore(options), context_(std::move(context)) {}
  Tensor forward(ExecContext& ctx, const Tensor& q, const Tensor& k, const Tensor& v, const TokenLayout& tokens,
                 int64_t layer) const override;

 private:
  ProcessGroup context_;
};

// Each rank changes some tokens of all heads for all tokens of some heads, and back: the local attention works in
// between.
//   Jacobs et al. 2023 (DeepSpeed-Ulysses), arXiv:2309.14509.
class ExchangedAttention final : public AttentionCore {
 public:
  ExchangedAttention(const AttentionOptions& options, ProcessGroup context)
      : AttentionCore(options), context_(std::move(context)) {}
  Tensor forward(ExecContext& ctx, const Tensor& q, const Tensor& k, const Tensor& v, const TokenLayout& tokens,
                 int64_t layer) const override;

 private:
  ProcessGroup context_;
};

}  // namespace nemo
