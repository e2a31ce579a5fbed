// The normalisation that opens a block, with the residual addition fused in: RMSNorm or LayerNorm.
#pragma once
#include <optional>
#include <string>

#include "core/nn/parameter_store.h"
#include "core/ops/norm.h"

namespace nemo {

class Norm {
 public:
  enum class Kind : uint8_t { rms_norm, layer_norm };
  // Parameters <name>.weight (ones) and, of layer_norm, <name>.bias (zeros).
  Norm(ParameterStore& store, const std::string& block, const std::string& name, int64_t hidden_size, Kind kind, float eps)
      : kind_(kind), eps_(eps), weight_(store.declare(block, name + ".weight", {hidden_size}, Initializer::constant(1))) {
    if (kind == Kind::layer_norm) bias_ = ParameterSpan(store.declare(block, name + ".bias", {hidden_size}, Initializer::constant(0)));
  }

  // residual, branch [T, D]; branch may be undefined.
  NormResult operator()(ExecContext& ctx, const Tensor& residual, const Tensor& branch) const {
    return kind_ == Kind::rms_norm ? rms_norm(ctx, residual, branch, weight_, eps_) : layer_norm(ctx, residual, branch, weight_, bias_, eps_);
  }

 private:
  Kind kind_;
  float eps_;
  ParameterSpan weight_, bias_;
};

}  // namespace nemo
