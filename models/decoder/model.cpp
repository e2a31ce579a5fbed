#include "models/decoder/model.h"

#include <algorithm>
#include <cmath>

#include "core/autograd/tape.h"
#include "core/ops/elementwise.h"
#include "core/ops/embedding.h"
#include "core/ops/gelu_mlp.h"
#include "core/ops/linear.h"
#include "models/decoder/rope_table.h"

namespace nemo {
namespace {

Norm::Kind norm_kind(const DecoderConfig& config) {
  return config.normalization == Normalization::rms_norm ? Norm::Kind::rms_norm : Norm::Kind::layer_norm;
}

Activation activation_of(MlpActivation kind) {
  switch (kind) {
    case MlpActivation::gelu_tanh: return Activation::gelu_tanh;
    case MlpActivation::gelu: return Activation::gelu;
    case MlpActivation::swiglu: case MlpActivation::silu: return Activation::silu;
    case MlpActivation::relu: return Activation::relu;
  }
  return Activation::relu;
}

Initializer weights(const DecoderConfig& config) { return Initializer::normal(static_cast<float>(config.init_method_std)); }

// Projections that write to the residual stream start smaller, by the number of them. Radford et al. 2019 (GPT-2), section 2.3.
Initializer residual_weights(const DecoderConfig& config) {
  return Initializer::normal(static_cast<float>(config.init_method_std / std::sqrt(2.0 * static_cast<double>(config.num_layers))));
}

AttentionOptions attention_options(const DecoderConfig& config, const std::string& block) {
  return {.scale = 1.0f / std::sqrt(static_cast<float>(config.head_dim)), .causal = true, .window = config.window_size,
          .dropout = static_cast<float>(config.attention_dropout), .dropout_site = random_site(block + ".attention.dropout"),
          .allow_library = config.attention_backend != AttentionBackend::own, .make_again = config.recomputes("core_attn")};
}

std::vector<Linear::Member> up_members(const DecoderConfig& config, const std::string& block) {
  if (config.gated()) return {{block + ".mlp.gate", config.ffn_hidden_size}, {block + ".mlp.up", config.ffn_hidden_size}};
  return {{block + ".mlp.up", config.ffn_hidden_size}};
}

// Undefined where positions are not learned.
ParameterSpan learned_positions(ParameterStore& store, const DecoderConfig& config, const std::string& block) {
  if (config.position_embedding_type != PositionEmbedding::learned) return {};
  return ParameterSpan(store.declare(block, "position_embedding.weight", {config.max_position_embeddings, config.hidden_size}, weights(config)));
}

std::string layer_name(int64_t layer) { return "layers." + std::to_string(layer); }

}  // namespace

Attention::Attention(ParameterStore& store, const DecoderConfig& config, const std::string& block, int64_t layer)
    : layer_(layer), num_heads_(config.num_attention_heads), head_size_(config.head_dim), norm_epsilon_(static_cast<float>(config.norm_epsilon)),
      qkv_(store, block,
           {{block + ".attention.wq", config.num_attention_heads * config.head_dim}, {block + ".attention.wk", config.num_query_groups * config.head_dim}, {block + ".attention.wv", config.num_query_groups * config.head_dim}},
           config.hidden_size, config.qkv_bias(), weights(config)),
      wo_(store, block, {{block + ".attention.wo", config.hidden_size}}, config.num_attention_heads * config.head_dim, config.add_bias_linear, residual_weights(config)),
      core_(std::make_unique<LocalAttention>(attention_options(config, block))) {
  if (!config.qk_norm) return;
  q_norm_ = ParameterSpan(store.declare(block, block + ".attention.q_norm.weight", {config.head_dim}, Initializer::constant(1)));
  k_norm_ = ParameterSpan(store.declare(block, block + ".attention.k_norm.weight", {config.head_dim}, Initializer::constant(1)));
}

Tensor Attention::forward(ExecContext& ctx, const Tensor& x, const TokenLayout& tokens, const RopeTable* rope_table) const {  // T tokens, N heads, G groups, H head size
  const std::vector<Tensor> packed = split_columns(ctx, qkv_(ctx, x), qkv_.member_rows());   // one product over three adjacent weights
  auto heads = [&](const Tensor& t) { return t.view({t.dim(0), t.dim(1) / head_size_, head_size_}); };
  Tensor q = heads(packed[0]), k = heads(packed[1]);                                          // [T, N, H], [T, G, H]: counts from the weights, so a slice just works
  if (q_norm_.defined()) {
    q = head_rms_norm(ctx, q, q_norm_, norm_epsilon_);
    k = head_rms_norm(ctx, k, k_norm_, norm_epsilon_);
  }
  if (rope_table != nullptr) {
    const RotatedHeads turned = rope(ctx, q, k, tokens.positions, *rope_table);
    q = turned.q;
    k = turned.k;
  }
  const Tensor out = core_->forward(ctx, q, k, heads(packed[2]), tokens, layer_);
  return wo_(ctx, out.view({out.dim(0), -1}));
}

void Attention::list_seams(Seams& seams, const std::string& name) {
  seams.linears.push_back({name + ".qkv", &qkv_});
  seams.linears.push_back({name + ".wo", &wo_});
  seams.attention.push_back({name, &core_, num_heads_});
}

FeedForward::FeedForward(ParameterStore& store, const DecoderConfig& config, const std::string& block)
    : gated_(config.gated()), bias_gelu_fusion_(config.bias_gelu_fusion), remake_up_(config.recomputes("mlp")), remake_activated_(remake_up_ || config.recomputes("mlp_act")), activation_(activation_of(config.activation)),
      up_(store, block, up_members(config, block), config.hidden_size, config.add_bias_linear, weights(config)),
      down_(store, block, {{block + ".mlp.down", config.hidden_size}}, config.ffn_hidden_size, config.add_bias_linear, residual_weights(config)) {}

// The one place that decides. What the activation gives is in no tensor of its own to be made again where products write it.
bool FeedForward::fuses_gelu() const {
  return bias_gelu_fusion_ && activation_ == Activation::gelu_tanh && !remake_activated_ && up_.is_plain() && down_.is_plain() && up_.bias().defined() && down_.bias().defined();
}

Tensor FeedForward::forward(ExecContext& ctx, const Tensor& x) const {
  if (fuses_gelu()) return gelu_mlp(ctx, x, up_.weight(), up_.bias(), down_.weight(), down_.bias());
  const Tensor up = up_(ctx, x);
  if (remake_up_) make_again(ctx, {up}, {x}, [this](ExecContext& ctx, const std::vector<Tensor>& from) { return std::vector{up_(ctx, from[0])}; });
  const Tensor activated = activate(ctx, up);
  if (remake_activated_) make_again(ctx, {activated}, {up}, [this](ExecContext& ctx, const std::vector<Tensor>& from) { return std::vector{activate(ctx, from[0])}; });
  return down_(ctx, activated);
}

void FeedForward::list_seams(Seams& seams, const std::string& name) {
  seams.linears.push_back({name + ".up", &up_});
  seams.linears.push_back({name + ".down", &down_});
}

EmbeddingBlock::EmbeddingBlock(ParameterStore& store, const DecoderConfig& config, int64_t padded_vocab_size)
    : Block("embedding"), dropout_(static_cast<float>(config.embedding_dropout)),
      table_(&store.declare(name(), "embedding.weight", {padded_vocab_size, config.hidden_size}, weights(config), padded_vocab_size - config.vocab_size)),
      embedding_(ParameterSpan(*table_), learned_positions(store, config, name())) {}

Bundle EmbeddingBlock::forward(ExecContext& ctx, const Bundle&, const TokenLayout& tokens) const {
  return {.residual = dropout(ctx, embedding_(ctx, tokens), dropout_, random_site("embedding.dropout"), tokens.stream_token_ids())};
}

void EmbeddingBlock::list_seams(Seams& seams) { seams.embedding = &embedding_; }

DecoderBlock::DecoderBlock(ParameterStore& store, const DecoderConfig& config, int64_t layer, const RopeTable* rope_table)
    : Block(layer_name(layer)), dropout_(static_cast<float>(config.hidden_dropout)), remake_norms_(config.recomputes("layernorm")), rope_table_(rope_table),
      attention_norm_(store, name(), name() + ".attention_norm", config.hidden_size, norm_kind(config), static_cast<float>(config.norm_epsilon)),
      attention_(store, config, name(), layer),
      mlp_norm_(store, name(), name() + ".mlp_norm", config.hidden_size, norm_kind(config), static_cast<float>(config.norm_epsilon)),
      mlp_(store, config, name()) {}

// What the norm gives is made again from the sum, which is kept for the norm's own backward and was rounded before it was used.
NormResult DecoderBlock::normalize(ExecContext& ctx, const Norm& norm, const Tensor& residual, const Tensor& branch) const {
  const NormResult result = norm(ctx, residual, branch);
  if (remake_norms_)
    make_again(ctx, {result.y}, {result.residual}, [&norm](ExecContext& ctx, const std::vector<Tensor>& from) { return std::vector{norm(ctx, from[0], {}).y}; });
  return result;
}

Bundle DecoderBlock::forward(ExecContext& ctx, const Bundle& in, const TokenLayout& tokens) const {
  const NormResult first = normalize(ctx, attention_norm_, in.residual, in.branch);
  const Tensor attended = dropout(ctx, attention_.forward(ctx, first.y, tokens, rope_table_), dropout_, random_site(name() + ".attention.output_dropout"), tokens.stream_token_ids());
  const NormResult second = normalize(ctx, mlp_norm_, first.residual, attended);
  const Tensor branch = dropout(ctx, mlp_.forward(ctx, second.y), dropout_, random_site(name() + ".mlp.output_dropout"), tokens.stream_token_ids());
  return {.residual = second.residual, .branch = branch};
}

void DecoderBlock::list_seams(Seams& seams) {
  attention_.list_seams(seams, name() + ".attention");
  mlp_.list_seams(seams, name() + ".mlp");
}

HeadBlock::HeadBlock(ParameterStore& store, const DecoderConfig& config, int64_t padded_vocab_size, Parameter* tied)
    : Block("head"), vocab_size_(config.vocab_size),
      final_norm_(store, name(), "final_norm", config.hidden_size, norm_kind(config), static_cast<float>(config.norm_epsilon)) {
  const bool copies = tied == nullptr && config.share_embeddings_and_output_weights;
  if (tied != nullptr) store.share(*tied, name());
  else tied = &store.declare(name(), copies ? "embedding.weight" : "output.weight", {padded_vocab_size, config.hidden_size}, weights(config), padded_vocab_size - config.vocab_size);
  if (copies) tied->copy = Parameter::Copy::second;
  output_ = ParameterSpan(*tied);
}

Bundle HeadBlock::forward(ExecContext& ctx, const Bundle& in, const TokenLayout& tokens) const {
  const auto wanted = [&](const Tensor& stream) { return tokens.output_rows.defined() && stream.defined() ? gather_rows(ctx, stream, tokens.output_rows) : stream; };
  const Tensor x = final_norm_(ctx, wanted(in.residual), wanted(in.branch)).y;
  if (tokens.labels.defined()) return {.output = linear_cross_entropy(ctx, x, output_, tokens.labels, {.num_classes = vocab_size_, .cut = vocabulary_cut_.get()})};
  const Tensor logits = linear_fp32(ctx, vocabulary_cut_ ? vocabulary_cut_->enter(ctx, x) : x, output_);
  return {.output = (vocabulary_cut_ ? vocabulary_cut_->gather_logits(ctx, logits) : logits).slice(1, 0, vocab_size_)};
}

void HeadBlock::list_seams(Seams& seams) { seams.vocabulary_cut = &vocabulary_cut_; }

DecoderModel::DecoderModel(ParameterStore& store, const DecoderConfig& config, int64_t padded_vocab_size, BlockRange range) : store_(store), config_(config), range_(range) {
  const int64_t head = config.num_layers + 1;
  Parameter* tied = nullptr;
  if (range.begin == 0 && range.end > 0) {
    auto embedding = std::make_unique<EmbeddingBlock>(store, config, padded_vocab_size);
    if (config.share_embeddings_and_output_weights) tied = &embedding->table();
    if (tied != nullptr && range.end <= head) tied->copy = Parameter::Copy::first;
    blocks_.push_back(std::move(embedding));
  }
  const bool rotary = config.position_embedding_type == PositionEmbedding::rope;
  for (int64_t block = std::max<int64_t>(range.begin, 1); block < std::min(range.end, head); ++block)
    blocks_.push_back(std::make_unique<DecoderBlock>(store, config, block - 1, rotary ? &rope_table_ : nullptr));
  if (range.end > head) blocks_.push_back(std::make_unique<HeadBlock>(store, config, padded_vocab_size, tied));
}

Seams DecoderModel::seams() {
  Seams seams;
  for (const std::unique_ptr<Block>& block : blocks_) block->list_seams(seams);
  return seams;
}

void DecoderModel::allocate_constants(ExecContext& ctx) {
  if (config_.position_embedding_type == PositionEmbedding::rope) rope_table_ = make_rope_table(ctx, config_);
}

Bundle DecoderModel::forward_blocks(ExecContext& ctx, Bundle bundle, const TokenLayout& tokens, int64_t begin, int64_t end) const {
  for (int64_t i = begin; i < end;) {
    const int64_t together = ctx.tape() != nullptr ? std::min(config_.recomputed_layers(i - 1), end - i) : 0;
    if (together == 0) {
      bundle = run_block(ctx, block(i++), bundle, tokens);
      continue;
    }
    std::vector<const Block*> layers;
    for (const int64_t last = i + together; i < last; ++i) layers.push_back(&block(i));
    bundle = run_recomputed(ctx, layers, bundle, tokens);
  }
  return bundle;
}

}  // namespace nemo
