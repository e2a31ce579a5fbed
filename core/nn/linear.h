// A linear layer, or several whose weights lie side by side and run as one product (q k v, gate up).
// Three independent slots: the stored weight (as it is, or multiplied in 8 bits where the store says so), an addition (an
// adapter), a boundary (a collective a plan attaches).
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/nn/parameter_store.h"
#include "core/nn/token_layout.h"
#include "core/ops/linear.h"

namespace nemo {

class ExecContext;

// Something added to a linear's output: y + f(x), x as it came to the linear.
class LinearAddition {
 public:
  virtual ~LinearAddition() = default;
  virtual Tensor add(ExecContext& ctx, const Tensor& x, const Tensor& y) const = 0;
};

// What happens to the input before and to the output after the product: gathers, reductions, nothing here.
class LinearBoundary {
 public:
  virtual ~LinearBoundary() = default;
  virtual const LinearEntrance* entrance() const { return nullptr; }
  virtual Tensor leave(ExecContext& ctx, const Tensor& y) const { return y; }
};

class Linear {
 public:
  struct Member {
    std::string name;   // "layers.0.attention.wq": parameters <name>.weight and <name>.bias
    int64_t out_features;
  };
  Linear(ParameterStore& store, const std::string& block, const std::vector<Member>& members, int64_t in_features, bool bias, Initializer weight_initializer);

  // x [T, in] -> [T, sum of the members' rows]. Outside training the stored weight is multiplied, never its 8-bit copy.
  Tensor operator()(ExecContext& ctx, const Tensor& x) const;

  // x W^T + b and nothing else: an op may take the parameters and run the product its own way.
  bool is_plain() const { return quantised_ == nullptr && addition_ == nullptr && boundary_ == nullptr; }
  const ParameterSpan& weight() const { return weight_; }
  const ParameterSpan& bias() const { return bias_; }
  std::vector<int64_t> member_rows() const;  // of the local slices
  void set_addition(std::unique_ptr<LinearAddition> addition) { addition_ = std::move(addition); }
  // adds_bias false: the boundary sums over ranks, and another rank's summand brings the bias.
  void set_boundary(std::unique_ptr<LinearBoundary> boundary, bool adds_bias = true) {
    boundary_ = std::move(boundary);
    adds_bias_ = adds_bias;
  }

 private:
  ParameterSpan weight_, bias_;
  QuantisedWeight* quantised_;  // owned by the store; null: products are in the compute dtype
  std::unique_ptr<LinearAddition> addition_;
  std::unique_ptr<LinearBoundary> boundary_;
  bool adds_bias_ = true;
};

}  // namespace nemo
