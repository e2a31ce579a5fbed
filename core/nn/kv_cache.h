// Keys and values of the tokens a decoder has seen, for generation: one contiguous row of positions per sequence.
// Not here: who generates (recipes/generate), paging.
#pragma once
#include <cstdint>
#include <vector>

#include "core/exec_context.h"
#include "core/nn/token_layout.h"

namespace nemo {

class KvCache {
 public:
  // keys and values of `num_layers` layers: [num_sequences * max_length, num_groups, head_size].
  KvCache(ExecContext& ctx, int64_t num_layers, int64_t num_sequences, int64_t max_length, int64_t num_groups, int64_t head_size);

  int64_t num_sequences() const { return static_cast<int64_t>(lengths_.size()); }
  int64_t max_length() const { return max_length_; }
  int64_t length(int64_t sequence) const { return lengths_[static_cast<size_t>(sequence)]; }

  // The layout of `counts[i]` new tokens of each sequence i, packed one after another; ids [sum of counts]. Throws ShapeError
  // when a sequence would outgrow max_length. Call advance() once the forward has run.
  TokenLayout layout(ExecContext& ctx, const std::vector<int32_t>& ids, const std::vector<int64_t>& counts);
  void advance(const std::vector<int64_t>& counts);

  // Appends k, v [T, groups, head_size] of the layout's tokens, and returns all keys and values of the layer.
  struct View { Tensor keys, values; };
  View append(ExecContext& ctx, int64_t layer, const Tensor& k, const Tensor& v);

  // Sequence i continues from what sequence origins[i] holds (beam search).
  void reorder(ExecContext& ctx, const std::vector<int64_t>& origins);

 private:
  int64_t max_length_;
  std::vector<int64_t> lengths_;
  std::vector<int64_t> pending_;         // counts of the layout in flight
  std::vector<Tensor> keys_, values_;    // by layer
};

}  // namespace nemo
