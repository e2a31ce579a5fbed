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
  std::string alone = {};    // the one parameter in it, where that must lie alone
  auto operator<=>(const FlatKey&) const = default;
};

// Which elements of each flat buffer this process updates and saves: part `shard_index` of `num_shards` equal ones, whatever
// parameters lie there. Ops see whole buffers; the optimizer and checkpoints see the own part.
struct FlatCut {
  int64_t shard_index = 0, num_shards = 1;
  bool gradients = false;    // only the own part of gradients lasts: the whole is leased by its first write (release_gradients ends it)
  bool values = false;       // only the own part of values lasts: whoever attaches `values` gathers and releases the whole
};

struct FlatBuffer {
  FlatKey key;
  std::vector<Parameter*> members;
  int64_t numel = 0;         // padding included; padding stays zero
  Tensor values;             // [numel] storage dtype; undefined while released
  Tensor gradients;          // [numel]; undefined when frozen, and before the first write where it does not last
  int64_t owned_begin = 0, owned_numel = 0;
  Parameter::Copy copy = Parameter::Copy::none;  // of its one parameter; a second copy counts in no norm and no checkpoint
  Tensor owned_values, owned_gradients;  // [owned_numel], a part of the above where those last
  Tensor master;             // [owned_numel] fp32, where values are rounded copies

  std::vector<std::string> used_by() const;  // the blocks that use any member, its own first
};

// The own part of a parameter: elements [first, first + count) of its stored rows, at `offset` of the owned tensors.
struct OwnedPart { int64_t first = 0, count = 0, offset = 0; };
OwnedPart owned_part(const Parameter& parameter);

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
  // Block `block` uses a parameter of another block too.
  void share(Parameter& parameter, const std::string& block) { parameter.used_by.push_back(block); }
  int new_fused_group() { return num_fused_groups_++; }
  // The 8-bit copy that a linear's weight gets, null for none; the store owns it, and leases it with the gradients.
  QuantisedWeight* quantised_weight(const ParameterSpan& weight);

  std::vector<Parameter*> parameters() const;
  Parameter* find(std::string_view name) const;  // null when absent
  int64_t num_parameters() const;                // elements, global shapes

  // Lays the parameters out and leases the buffers. gradients = false for inference.
  void allocate(ExecContext& ctx, const StoragePolicy& policy, bool gradients, const FlatCut& cut = {});
  const StoragePolicy& policy() const { return policy_; }
  const FlatCut& cut() const { return cut_; }
  std::deque<FlatBuffer>& flat_buffers() { return flat_buffers_; }

  // Fills every parameter from (seed, its name, global index): the same numbers on any mesh.
  void initialise(ExecContext& ctx, uint64_t seed);
  // One parameter's values in fp32, host order; write also sets the master copy. read needs the whole values at hand.
  void write(ExecContext& ctx, Parameter& parameter, const float* values);
  std::vector<float> read(ExecContext& ctx, const Parameter& parameter) const;
  std::vector<float> read_gradient(ExecContext& ctx, const Parameter& parameter) const;

  // The next gradient write of each parameter is its first, and 8-bit copies are made anew.
  void begin_step();
  void zero_unwritten(ExecContext& ctx);   // gradients nobody wrote in this step, where they last
  // One buffer's, leased first where it does not last.
  void zero_unwritten(ExecContext& ctx, FlatBuffer& flat);
  void release_gradients(FlatBuffer& flat);  // where they do not last
  // Which gradients this step has written so far, in the order of parameters(): a replayed step sets what its walk would have.
  std::vector<bool> gradients_written() const;
  void set_gradients_written(const std::vector<bool>& written);

 private:
  void lay_out();
  void allocate(ExecContext& ctx, FlatBuffer& flat, bool gradients);
  void fill_owned(ExecContext& ctx, const Parameter& parameter, const Tensor& owned, uint64_t seed) const;

  StoragePolicy policy_;
  FlatCut cut_;
  std::deque<Parameter> parameters_;       // addresses are stable
  std::function<bool(const std::string& block)> quantised_block_;
  std::deque<QuantisedWeight> quantised_weights_;
  std::deque<FlatBuffer> flat_buffers_;
  int num_fused_groups_ = 0;
};

}  // namespace nemo
