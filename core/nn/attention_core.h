// The seam where attention over tokens happens: local here; a plan may swap in a ring or an all-to-all.
#pragma once
#include "core/ops/attention.h"

namespace nemo {

class AttentionCore {
 public:
  explicit AttentionCore(const AttentionOptions& options) : options_(options) {}
  virtual ~AttentionCore() = default;
  const AttentionOptions& options() const { return options_; }
  // q [T, N, H], k, v [T, G, H] -> [T, N, H]; layer: index into the cache.
  virtual Tensor forward(ExecContext& ctx, const Tensor& q, const Tensor& k, const Tensor& v, const TokenLayout& tokens, int64_t layer) const = 0;

 private:
  AttentionOptions options_;
};

// All tokens in this process, with the cache of earlier tokens where the layout brings one.
class LocalAttention final : public AttentionCore {
 public:
  using AttentionCore::AttentionCore;
  Tensor forward(ExecContext& ctx, const Tensor& q, const Tensor& k, const Tensor& v, const TokenLayout& tokens, int64_t layer) const override;
};

}  // namespace nemo
