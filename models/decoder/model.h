// The decoder-only transformer that GPT, Llama, Mistral and Qwen are settings of, written for one device.
// Not here: how it may be cut (models/*/sharding.h), names in other formats (models/*/checkpoint_names.cpp).
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "core/nn/attention_core.h"
#include "core/nn/block.h"
#include "core/nn/embedding.h"
#include "core/nn/linear.h"
#include "core/nn/norm.h"
#include "core/nn/seams.h"
#include "core/ops/activation.h"
#include "core/ops/rope.h"
#include "models/decoder/config.h"

namespace nemo {

class Attention {
 public:
  Attention(ParameterStore& store, const DecoderConfig& config, const std::string& block, int64_t layer);
  Tensor forward(ExecContext& ctx, const Tensor& x, const TokenLayout& tokens, const RopeTable* rope_table) const;
  void list_seams(Seams& seams, const std::string& name);

 private:
  int64_t layer_, num_heads_, head_size_;  // num_heads_: uncut
  float norm_epsilon_;
  Linear qkv_, wo_;
  ParameterSpan q_norm_, k_norm_;  // undefined without qk_norm
  std::unique_ptr<AttentionCore> core_;
};

class FeedForward {
 public:
  FeedForward(ParameterStore& store, const DecoderConfig& config, const std::string& block);
  Tensor forward(ExecContext& ctx, const Tensor& x) const;
  void list_seams(Seams& seams, const std::string& name);

 private:
  Tensor activate(ExecContext& ctx, const Tensor& up) const { return gated_ ? gated_activation(ctx, up, activation_) : activation(ctx, up, activation_); }

  bool fuses_gelu() const;

  bool gated_, bias_gelu_fusion_, remake_up_, remake_activated_;
  Activation activation_;
  Linear up_, down_;  // up_: gate | up where gated
};

class EmbeddingBlock final : public Block {
 public:
  EmbeddingBlock(ParameterStore& store, const DecoderConfig& config, int64_t padded_vocab_size);
  Bundle forward(ExecContext& ctx, const Bundle& in, const TokenLayout& tokens) const override;
  void list_seams(Seams& seams) override;
  Parameter& table() const { return *table_; }

 private:
  float dropout_;
  Parameter* table_;
  Embedding embedding_;
};

class DecoderBlock final : public Block {
 public:
  DecoderBlock(ParameterStore& store, const DecoderConfig& config, int64_t layer, const RopeTable* rope_table);
  Bundle forward(ExecContext& ctx, const Bundle& in, const TokenLayout& tokens) const override;
  void list_seams(Seams& seams) override;

 private:
  NormResult normalize(ExecContext& ctx, const Norm& norm, const Tensor& residual, const Tensor& branch) const;

  float dropout_;
  bool remake_norms_;
  const RopeTable* rope_table_;  // null: learned positions
  Norm attention_norm_;
  Attention attention_;
  Norm mlp_norm_;
  FeedForward mlp_;
};

class HeadBlock final : public Block {
 public:
  // tied: the embedding's table; null: an output matrix of its own, which is a copy of the table where the model shares it and the
  // embedding is in another stage.
  HeadBlock(ParameterStore& store, const DecoderConfig& config, int64_t padded_vocab_size, Parameter* tied);
  Bundle forward(ExecContext& ctx, const Bundle& in, const TokenLayout& tokens) const override;
  void list_seams(Seams& seams) override;

 private:
  int64_t vocab_size_;
  Norm final_norm_;
  ParameterSpan output_;
  std::unique_ptr<VocabularyCut> vocabulary_cut_;
};

// Blocks [begin, end) of a model: 0 is the embedding, then the layers, last the head.
struct BlockRange {
  int64_t begin = 0, end = 0;
};
inline BlockRange all_blocks(const DecoderConfig& config) { return {0, config.num_layers + 2}; }

class DecoderModel {
 public:
  // Shapes only: parameters are declared in `store` and hold nothing until it allocates. config must be resolved, with
  // vocab_size set; padded_vocab_size rows are stored, the padding takes no part in softmax.
  DecoderModel(ParameterStore& store, const DecoderConfig& config, int64_t padded_vocab_size) : DecoderModel(store, config, padded_vocab_size, all_blocks(config)) {}
  // A part of it: a pipeline stage, or one of a stage's chunks.
  DecoderModel(ParameterStore& store, const DecoderConfig& config, int64_t padded_vocab_size, BlockRange range);

  // Fills what is not learned (rotary tables). Call once after the store has allocated.
  void allocate_constants(ExecContext& ctx);

  Bundle forward(ExecContext& ctx, const TokenLayout& tokens, const Bundle& in = {}) const { return forward_blocks(ctx, in, tokens, 0, num_blocks()); }
  // Blocks [begin, end) of those that are here.
  Bundle forward_blocks(ExecContext& ctx, Bundle bundle, const TokenLayout& tokens, int64_t begin, int64_t end) const;

  int64_t num_blocks() const { return static_cast<int64_t>(blocks_.size()); }
  const Block& block(int64_t index) const { return *blocks_[static_cast<size_t>(index)]; }
  const DecoderConfig& config() const { return config_; }
  Seams seams();  // valid as long as the model
  BlockRange range() const { return range_; }
  ParameterStore& store() const { return store_; }

 private:
  ParameterStore& store_;
  DecoderConfig config_;
  BlockRange range_;
  RopeTable rope_table_;
  std::vector<std::unique_ptr<Block>> blocks_;
};

}  // namespace nemo
