#include "models/decoder/accounting.h"

namespace nemo {

int64_t count_parameters(const DecoderConfig& config) {
  const int64_t hidden = config.hidden_size, ffn = config.ffn_hidden_size;
  const int64_t query = config.num_attention_heads * config.head_dim, key = config.num_query_groups * config.head_dim;
  const int64_t up = config.gated() ? 2 * ffn : ffn;
  const int64_t norm = config.normalization == Normalization::layer_norm ? 2 * hidden : hidden;

  int64_t layer = 2 * norm + hidden * (2 * query + 2 * key) + hidden * (up + ffn);
  if (config.qkv_bias()) layer += query + 2 * key;
  if (config.add_bias_linear) layer += hidden + up + hidden;  // wo, up (and gate), down
  if (config.qk_norm) layer += 2 * config.head_dim;

  int64_t total = config.num_layers * layer + norm + config.vocab_size * hidden;
  if (config.position_embedding_type == PositionEmbedding::learned) total += config.max_position_embeddings * hidden;
  if (!config.share_embeddings_and_output_weights) total += config.vocab_size * hidden;
  return total;
}

FlopsPerToken count_flops(const DecoderConfig& config) {
  const double hidden = static_cast<double>(config.hidden_size), ffn = static_cast<double>(config.ffn_hidden_size);
  const double query = static_cast<double>(config.num_attention_heads * config.head_dim);
  const double key = static_cast<double>(config.num_query_groups * config.head_dim);
  const double layers = static_cast<double>(config.num_layers), length = static_cast<double>(config.seq_length);
  const double window = static_cast<double>(config.window_size);

  // A weight costs 2 operations a token forward, and twice that backward (towards its input, towards itself).
  const double weights = layers * hidden * (2 * query + 2 * key + (config.gated() ? 3 : 2) * ffn) +
                         hidden * static_cast<double>(config.vocab_size);
  // A query meeting a key costs 2 products of head_dim over all heads, 2 operations each, and twice that backward.
  const double pair = 12 * layers * query;
  const bool windowed = window > 0 && window < length;
  const double visible = windowed ? window - window * window / (2 * length) : length / 2;  // mean over the sequence
  return {6 * weights + pair * length, 6 * weights + pair * visible};
}

}  // namespace nemo
