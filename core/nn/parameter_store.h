// All parameters of a model and the flat buffers they lie in, grouped so that one kernel or one collective serves many.
// Not here: optimizer moments (core/optim), checkpoint formats (core/checkpoint).
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/nn/parameter.h"
#include "core/nn/quantised_weight.h"

namespace nemo {

// What parameters must share to lie in one buffer.
struct FlatKey {
  std::string block;
  bool trainable, weight_decay;
  auto operator<=>(const FlatKey&) const = default;
};

struct FlatBuffer {
  FlatKey key;
  std::vector<Parameter*> members;
  int64_t numel = 0;         // padding included; padding stays zero
  Tensor values;             // [numel] storage dtype; undefined while released
  Tensor master;             // [numel] fp32, where values are rounded copies
  Tensor gradients;          // [numel], undefined when frozen
};

struct StoragePolicy {
  DType values = DType::fp32;
  DType gradients = DType::fp32;
  bool master = false;       // keep fp32 master weights beside the values
};

class ParameterStore {
 public:
  // quantised_block: the blocks whose linears multiply in 8 bits while training; empty: none.
  explicit ParameterStore(std::function<bool(const std::string& block)> quantised_block = {}) : quantised_block_(std::move(quantised_block)) {}
  ParameterStore(const ParameterStore&) = delete;
  ParameterStore& operator=(const ParameterStore&) = delete;

  // Declaring: shapes only. Names are unique. The last padding_rows rows stand for nothing (vocabulary padding).
  Parameter& declare(const std::string& block, const std::string& name, const Shape& shape, Initializer initializer, int64_t padding_rows = 0);
  int new_fused_group() { return num_fused_groups_++; }
  // The 8-bit copy that a linear's weight gets, null for none; the store owns it, and leases it with the gradients.
  QuantisedWeight* quantised_weight(const ParameterSpan& weight);

  std::vector<Parameter*> parameters() const;
  Parameter* find(std::string_view name) const;  // null when absent
  int64_t num_parameters() const;                // elements, global shapes

  // Lays the parameters out and leases the buffers. gradients = false for inference.
  void allocate(ExecContext& ctx, const StoragePolicy& policy, bool gradients);
  const StoragePolicy& policy() const { return policy_; }
  std::deque<FlatBuffer>& flat_buffers() { return flat_buffers_; }

  // Fills every parameter from (seed, its name, global index): the same numbers on any mesh.
  void initialise(ExecContext& ctx, uint64_t seed);
  // One parameter's values in fp32, host order; write also sets the master copy.
  void write(ExecContext& ctx, Parameter& parameter, const float* values);
  std::vector<float> read(ExecContext& ctx, const Parameter& parameter) const;
  std::vector<float> read_gradient(ExecContext& ctx, const Parameter& parameter) const;

  // The next gradient write of each parameter is its first, and 8-bit copies are made anew.
  void begin_step();
  void zero_unwritten(ExecContext& ctx);   // gradients nobody wrote in this step

 private:
  void lay_out();

  StoragePolicy policy_;
  std::deque<Parameter> parameters_;       // addresses are stable
  std::function<bool(const std::string& block)> quantised_block_;
  std::deque<QuantisedWeight> quantised_weights_;
  std::deque<FlatBuffer> flat_buffers_;
  int num_fused_groups_ = 0;
};

}  // namespace nemo
