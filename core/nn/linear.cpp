#include "core/nn/linear.h"

#include "core/error.h"
#include "core/ops/fp8_linear.h"
#include "core/ops/linear.h"

namespace nemo {

Linear::Linear(ParameterStore& store, const std::string& block, const std::vector<Member>& members, int64_t in_features, bool bias,
               Initializer weight_initializer) {
  const int weight_group = store.new_fused_group(), bias_group = store.new_fused_group();
  std::vector<Parameter*> weights, biases;
  for (const Member& member : members) {
    Parameter& weight = store.declare(block, member.name + ".weight", {member.out_features, in_features}, weight_initializer);
    weight.fused_group = weight_group;
    weights.push_back(&weight);
  }
  for (const Member& member : members) {
    if (!bias) break;
    Parameter& added = store.declare(block, member.name + ".bias", {member.out_features}, Initializer::constant(0));
    added.fused_group = bias_group;
    biases.push_back(&added);
  }
  weight_ = ParameterSpan(std::move(weights));
  if (bias) bias_ = ParameterSpan(std::move(biases));
  quantised_ = store.quantised_weight(weight_);
}

std::vector<int64_t> Linear::member_rows() const {
  std::vector<int64_t> rows;
  for (const Parameter* member : weight_.members()) rows.push_back(member->shape[0]);
  return rows;
}

Tensor Linear::operator()(ExecContext& ctx, const Tensor& x) const {
  const LinearOptions options{.add_bias = adds_bias_, .entrance = boundary_ ? boundary_->entrance() : nullptr};
  const bool in_8_bits = quantised_ != nullptr && ctx.training();
  Tensor y = in_8_bits ? fp8_linear(ctx, x, *quantised_, bias_, options) : linear(ctx, x, weight_, bias_, options);
  if (addition_) y = addition_->add(ctx, x, y);
  return boundary_ ? boundary_->leave(ctx, y) : y;
}

}  // namespace nemo
