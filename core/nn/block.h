// A block of a model: a named piece that maps a bundle of tensors to a bundle. What is gathered, released, recomputed and
// cut into pipeline stages is a block; a stage boundary sends the bundle.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "core/exec_context.h"
#include "core/nn/token_layout.h"

namespace nemo {

// For text: the residual stream, and the branch that is not yet added to it; at the end what the head made.
struct Bundle {
  Tensor residual = {}, branch = {};  // [T, D]; branch is undefined before the first decoder block
  Tensor output = {};                 // the head's: log_prob [T] fp32 in training, logits [T, V] fp32 in inference, or [R, V] of the layout's output_rows
};

struct Seams;

class Block {
 public:
  explicit Block(std::string name) : name_(std::move(name)) {}
  virtual ~Block() = default;
  const std::string& name() const { return name_; }
  virtual Bundle forward(ExecContext& ctx, const Bundle& in, const TokenLayout& tokens) const = 0;
  virtual void list_seams(Seams& seams) = 0;  // adds its own (core/nn/seams.h)

 private:
  std::string name_;
};

// Runs a block between its hooks.
Bundle run_block(ExecContext& ctx, const Block& block, const Bundle& in, const TokenLayout& tokens);

// Runs blocks, one after the other, as one region of which the backward computes everything again (Tape::checkpoint). The
// branch is added to the residual first, so that a region keeps one tensor. `tokens` are held until the backward is done.
// Only while recording.
Bundle run_recomputed(ExecContext& ctx, const std::vector<const Block*>& blocks, const Bundle& in, const TokenLayout& tokens);

}  // namespace nemo
