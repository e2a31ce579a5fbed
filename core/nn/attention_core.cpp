#include "core/nn/attention_core.h"

#include "core/nn/kv_cache.h"

namespace nemo {

Tensor LocalAttention::forward(ExecContext& ctx, const Tensor& q, const Tensor& k, const Tensor& v, const TokenLayout& tokens, int64_t layer) const {
  if (tokens.cache == nullptr) return attention(ctx, q, k, v, tokens, options());
  const KvCache::View all = tokens.cache->append(ctx, layer, k, v);
  return attention(ctx, q, all.keys, all.values, tokens, options());
}

}  // namespace nemo
