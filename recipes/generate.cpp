#include "recipes/generate.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "core/error.h"
#include "core/nn/kv_cache.h"
#include "core/ops/copy.h"
#include "recipes/beam_search.h"

namespace nemo {
namespace {

using Sequences = std::vector<std::vector<int32_t>>;

// While one lives the context records nothing and drops nothing, whatever it was set to.
class Inference {
 public:
  explicit Inference(ExecContext& ctx) : ctx_(ctx), tape_(ctx.tape()), training_(ctx.training()) {
    ctx_.set_tape(nullptr);
    ctx_.set_training(false);
  }
  ~Inference() {
    ctx_.set_tape(tape_);
    ctx_.set_training(training_);
  }
  Inference(const Inference&) = delete;
  Inference& operator=(const Inference&) = delete;

 private:
  ExecContext& ctx_;
  Tape* tape_;
  bool training_;
};

// The model with its cache: takes the next tokens of each sequence, gives the logits that follow them.
class CachedDecoder {
 public:
  CachedDecoder(ExecContext& ctx, const DecoderModel& model, int64_t num_sequences, int64_t max_length)
      : inference_(ctx),
        ctx_(ctx),
        model_(model),
        cache_(ctx, model.config().num_layers, num_sequences, max_length, model.config().num_query_groups,
               model.config().head_dim) {}

  // [sequences with new ids, vocab_size] fp32, in order; the logits after each one's last new id.
  std::vector<float> logits_after(const Sequences& new_ids) {
    std::vector<int32_t> ids, last_rows;
    std::vector<int64_t> counts;
    for (const std::vector<int32_t>& more : new_ids) {
      ids.insert(ids.end(), more.begin(), more.end());
      counts.push_back(static_cast<int64_t>(more.size()));
      if (!more.empty()) last_rows.push_back(static_cast<int32_t>(ids.size()) - 1);
    }
    TokenLayout tokens = cache_.layout(ctx_, ids, counts);
    if (last_rows.size() < ids.size()) {
      tokens.output_rows = ctx_.empty({static_cast<int64_t>(last_rows.size())}, DType::int32, MemoryTag::data);
      upload(ctx_, tokens.output_rows, last_rows.data());
    }
    Tensor logits = model_.forward(ctx_, tokens).output;
    cache_.advance(counts);
    if (!logits.is_contiguous()) {  // rows carry vocabulary padding
      const Tensor whole = ctx_.empty(logits.shape(), logits.dtype());
      copy_rows(ctx_, whole, logits);
      logits = whole;
    }
    std::vector<float> values = read_fp32(ctx_, logits);
    if (!std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); }))
      throw CheckpointError{"generate", "logits", "are not finite", "check the weights, or compute in fp32"};
    return values;
  }

  // Sequence i continues from sequence origins[i].
  void reorder(const std::vector<int64_t>& origins) { cache_.reorder(ctx_, origins); }

 private:
  Inference inference_;
  ExecContext& ctx_;
  const DecoderModel& model_;
  KvCache cache_;
};

int64_t longest(const Sequences& sequences) {
  size_t length = 0;
  for (const std::vector<int32_t>& sequence : sequences) length = std::max(length, sequence.size());
  return static_cast<int64_t>(length);
}

// New tokens a prompt may get.
int64_t budget_of(const DecoderConfig& config, const std::vector<int32_t>& prompt, const GenerateOptions& options) {
  return std::min(options.max_new_tokens, config.max_position_embeddings - static_cast<int64_t>(prompt.size()));
}

bool ends(int32_t id, const GenerateOptions& options) {
  return std::find(options.eos_ids.begin(), options.eos_ids.end(), id) != options.eos_ids.end();
}

int64_t cache_length(const DecoderConfig& config, const Sequences& prompts, const GenerateOptions& options) {
  return std::min(config.max_position_embeddings, longest(prompts) + options.max_new_tokens);
}

Sequences sample(ExecContext& ctx, const DecoderModel& model, const Sequences& prompts, const GenerateOptions& options,
                 const OnToken& on_token) {
  const DecoderConfig& config = model.config();
  CachedDecoder decoder(ctx, model, static_cast<int64_t>(prompts.size()), cache_length(config, prompts, options));
  Sequences sequences = prompts, next = prompts;  // next: what the cache has not seen; empty once a sequence has ended
  while (longest(next) > 0) {
    const std::vector<float> logits = decoder.logits_after(next);
    const float* row = logits.data();
    for (size_t i = 0; i < sequences.size(); ++i) {
      if (next[i].empty()) continue;
      const int32_t id = sample_token({row, static_cast<size_t>(config.vocab_size)}, options.sampling,
                                      static_cast<int64_t>(i), static_cast<int64_t>(sequences[i].size()));
      row += config.vocab_size;
      sequences[i].push_back(id);
      next[i].clear();
      if (on_token) on_token(static_cast<int64_t>(i), id);
      const int64_t num_new = static_cast<int64_t>(sequences[i].size() - prompts[i].size());
      if (!ends(id, options) && num_new < budget_of(config, prompts[i], options)) next[i].push_back(id);
    }
  }
  return sequences;
}

Sequences search(ExecContext& ctx, const DecoderModel& model, const Sequences& prompts, const GenerateOptions& options,
                 const OnToken& on_token) {
  const DecoderConfig& config = model.config();
  const size_t num_beams = static_cast<size_t>(options.num_beams), vocab_size = static_cast<size_t>(config.vocab_size);
  const size_t num_slots = prompts.size() * num_beams;  // slot p * num_beams + b of the cache: beam b of prompt p
  CachedDecoder decoder(ctx, model, static_cast<int64_t>(num_slots), cache_length(config, prompts, options));
  std::vector<BeamSearch> searches;
  Sequences next(num_slots);  // each prompt is read once, in its first slot
  for (size_t p = 0; p < prompts.size(); ++p) {
    searches.emplace_back(BeamOptions{.num_beams = options.num_beams,
                                      .max_new_tokens = budget_of(config, prompts[p], options),
                                      .length_penalty = options.length_penalty,
                                      .eos_ids = options.eos_ids});
    next[p * num_beams] = prompts[p];
  }
  while (longest(next) > 0) {
    const std::vector<float> logits = decoder.logits_after(next);
    const float* row = logits.data();
    std::vector<int64_t> origins(num_slots);
    for (size_t p = 0; p < prompts.size(); ++p) {
      BeamSearch& one = searches[p];
      const size_t first = p * num_beams;
      for (size_t b = 0; b < num_beams; ++b) origins[first + b] = static_cast<int64_t>(first + b);
      if (one.done()) continue;
      const size_t rows = one.beams().size();
      one.advance({row, rows * vocab_size});
      row += rows * vocab_size;
      for (size_t b = 0; b < num_beams; ++b) {
        next[first + b].clear();
        if (one.done()) continue;
        const BeamSearch::Beam& beam = one.beams()[b];
        origins[first + b] = static_cast<int64_t>(first) + beam.origin;
        next[first + b].push_back(beam.ids.back());
      }
    }
    if (longest(next) > 0) decoder.reorder(origins);
  }
  Sequences sequences = prompts;
  for (size_t p = 0; p < prompts.size(); ++p) {
    for (const int32_t id : searches[p].best()) {
      sequences[p].push_back(id);
      if (on_token) on_token(static_cast<int64_t>(p), id);
    }
  }
  return sequences;
}

}  // namespace

void check(const DecoderConfig& config, const Sequences& prompts, const GenerateOptions& options) {
  check(options.sampling);
  if (options.max_new_tokens < 1)
    throw UsageError{"generate", "max_new_tokens", std::to_string(options.max_new_tokens) + " asks for nothing",
                     "1 or more"};
  if (options.num_beams < 1)
    throw UsageError{"generate", "num_beams", std::to_string(options.num_beams) + " makes no sense",
                     "1 (no beam search) or more"};
  if (options.num_beams > 1 && options.sampling.temperature > 0)
    throw UsageError{"generate", "num_beams", "beam search does not sample", "temperature 0, or num_beams 1"};
  for (size_t i = 0; i < prompts.size(); ++i) {
    const std::vector<int32_t>& prompt = prompts[i];
    const std::string subject = "prompt " + std::to_string(i);
    if (prompt.empty()) throw UsageError{"generate", subject, "holds no token", "a text of one token or more"};
    if (static_cast<int64_t>(prompt.size()) >= config.max_position_embeddings)
      throw UsageError{"generate", subject,
                       "is " + std::to_string(prompt.size()) +
                           " tokens long, which leaves none of the model's max_position_embeddings (" +
                           std::to_string(config.max_position_embeddings) + ") for an answer",
                       "a shorter prompt"};
    for (const int32_t id : prompt)
      if (id < 0 || id >= config.vocab_size)
        throw UsageError{
            "generate", subject,
            "token id " + std::to_string(id) + " is not in the vocabulary of " + std::to_string(config.vocab_size),
            "the tokenizer that belongs to the model"};
  }
}

Sequences generate(ExecContext& ctx, const DecoderModel& model, const Sequences& prompts,
                   const GenerateOptions& options, const OnToken& on_token) {
  check(model.config(), prompts, options);
  if (prompts.empty()) return {};
  return options.num_beams > 1 ? search(ctx, model, prompts, options, on_token)
                               : sample(ctx, model, prompts, options, on_token);
}

std::string_view name(FinishReason reason) {
  switch (reason) {
    case FinishReason::eos:
      return "eos";
    case FinishReason::max_new_tokens:
      return "max_new_tokens";
    case FinishReason::max_position_embeddings:
      break;
  }
  return "max_position_embeddings";
}

FinishReason finish_reason(const std::vector<int32_t>& sequence, size_t prompt_length, const GenerateOptions& options) {
  const int64_t num_new = static_cast<int64_t>(sequence.size() - prompt_length);
  if (num_new > 0 && ends(sequence.back(), options)) return FinishReason::eos;
  return num_new == options.max_new_tokens ? FinishReason::max_new_tokens : FinishReason::max_position_embeddings;
}

int32_t padding_id(std::optional<int64_t> pad_token_id, std::span<const int32_t> eos_ids, int64_t num_beams) {
  const bool usable = pad_token_id && !(num_beams > 1 && *pad_token_id == 0);
  if (usable || eos_ids.empty()) return static_cast<int32_t>(pad_token_id.value_or(0));
  return eos_ids.front();
}

}  // namespace nemo
