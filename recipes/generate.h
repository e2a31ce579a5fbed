// Text from a decoder: prompts in, prompts with their continuation out, token by token through a cache of keys and
// values. The modules, kernels and weights are those of training, run without a tape. Not here: text (core/tokenizer),
// where the model comes from (recipes/load_model.h).
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "models/decoder/model.h"
#include "recipes/sampling.h"

namespace nemo {

struct GenerateOptions {
  int64_t max_new_tokens = 128;
  SamplingOptions sampling = {};      // greedy unless its temperature says otherwise
  int64_t num_beams = 1;              // above 1: beam search, which does not sample
  double length_penalty = 1;          // beams: hypotheses compare by score / length^length_penalty
  std::vector<int32_t> eos_ids = {};  // each ends a sequence, and is part of it
};

// A new token of prompt `sequence`. Beam search tells the best hypothesis, once it is known.
using OnToken = std::function<void(int64_t sequence, int32_t id)>;

// The prompts, each with its new ids, not padded. A sequence ends with an eos id, after max_new_tokens, or at the
// model's max_position_embeddings. Prompts may differ in length and do not influence one another. Waits for the device
// after each token. UsageError for options or prompts that cannot work; CheckpointError where the logits are not
// finite.
std::vector<std::vector<int32_t>> generate(ExecContext& ctx, const DecoderModel& model,
                                           const std::vector<std::vector<int32_t>>& prompts,
                                           const GenerateOptions& options, const OnToken& on_token = {});

// UsageError where generate() would refuse, before anything runs or is shown.
void check(const DecoderConfig& config, const std::vector<std::vector<int32_t>>& prompts,
           const GenerateOptions& options);

enum class FinishReason : uint8_t { eos, max_new_tokens, max_position_embeddings };
std::string_view name(FinishReason reason);

// Why a sequence that generate() returned ended.
FinishReason finish_reason(const std::vector<int32_t>& sequence, size_t prompt_length, const GenerateOptions& options);

// The id that transformers fills the shorter sequences of a batch with. It takes the first eos id where there is no
// padding id, and for beams also where the padding id is 0.
int32_t padding_id(std::optional<int64_t> pad_token_id, std::span<const int32_t> eos_ids, int64_t num_beams);

}  // namespace nemo
