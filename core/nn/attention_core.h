// The seam where attention over tokens happens: local here; a plan may swap in a ring or an all-to-all.
#pragma once
#include "core/ops/attention.h"

namespace nemo {

class AttentionCore {
 public:
  virtual ~AttentionCore() = default;
  // q [T, N, H], k, v [T, G, H] -> [T, N, H]; layer: index into the cache.
  virtual Tensor forward(ExecContext& ctx, const Tensor& q, const Tensor& k, const Tensor& v, const TokenLayout& tokens, int64_t layer) const = 0;
};

// All tokens in this process, with the cache of earlier tokens where the layout brings one.
class LocalAttention final : public AttentionCore {
 public:
  explicit LocalAttention(const AttentionOptions& options) : options_(options) {}
  Tensor forward(ExecContext& ctx, const Tensor& q, const Tensor& k, const Tensor& v, const TokenLayout& tokens, int64_t layer) const override;

 private:
  AttentionOptions options_;
};

}  // namespace nemo
