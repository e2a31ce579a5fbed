// Rotary angles of a config: inverse frequencies with the config's stretching, and the tables kernels read.
#pragma once
#include <vector>

#include "core/ops/rope.h"
#include "models/decoder/config.h"

namespace nemo {

// head_dim / 2 angles per position, in radians. Llama 3 stretching: config.h says what its factors mean.
std::vector<double> inverse_frequencies(const DecoderConfig& config);

// For positions [0, max_position_embeddings).
RopeTable make_rope_table(ExecContext& ctx, const DecoderConfig& config);

}  // namespace nemo
