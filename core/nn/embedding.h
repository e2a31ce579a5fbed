// Token embedding, with a learned position table where the model has one: what opens the residual stream.
#pragma once
#include <memory>
#include <utility>

#include "core/nn/parameter.h"
#include "core/nn/token_layout.h"

namespace nemo {

class ExecContext;

// What happens to the looked-up rows [T, D] before positions are added: a sum over the slices of a table, nothing here.
class EmbeddingBoundary {
 public:
  virtual ~EmbeddingBoundary() = default;
  virtual Tensor leave(ExecContext& ctx, const Tensor& rows) const = 0;
};

class Embedding {
 public:
  // table [V, D], positions [P, D] or undefined.
  Embedding(const ParameterSpan& table, const ParameterSpan& positions) : table_(table), positions_(positions) {}
  Tensor operator()(ExecContext& ctx, const TokenLayout& tokens) const;  // -> the rows of the residual stream
  void set_boundary(std::unique_ptr<EmbeddingBoundary> boundary) { boundary_ = std::move(boundary); }

 private:
  ParameterSpan table_, positions_;
  std::unique_ptr<EmbeddingBoundary> boundary_;
};

}  // namespace nemo
