#include "recipes/generate.h"

#include <catch2/catch.hpp>

#include "core/autograd/tape.h"
#include "core/error.h"
#include "recipes/load_model.h"
#include "tests/core/checkpoint/checkpoint_files.h"
#include "tests/core/data/golden_arrays.h"
#include "tests/models/decoder/small_decoder.h"

namespace nemo::test {
namespace {

using Sequences = std::vector<std::vector<int32_t>>;

Sequences matrix(const GoldenArray& array) {
  Sequences sequences;
  for (int64_t row = 0; row < array.shape[0]; ++row)
    sequences.emplace_back(array.values.begin() + row * array.shape[1],
                           array.values.begin() + (row + 1) * array.shape[1]);
  return sequences;
}

struct Ready : SmallDecoder {
  explicit Ready(const std::string& family, double dropout = 0) : SmallDecoder({}, with_dropout(family, dropout)) {
    allocate();
  }
  static DecoderConfig with_dropout(const std::string& family, double dropout) {
    DecoderConfig config = small_config(family);
    config.init_method_std = 0.3;  // far from uniform logits, so that texts differ
    config.hidden_dropout = config.attention_dropout = config.embedding_dropout = dropout;
    return config;
  }
  Sequences operator()(const Sequences& prompts, const GenerateOptions& options, const OnToken& on_token = {}) {
    return generate(ctx, model, prompts, options, on_token);
  }
};

const Sequences kPrompts = {{3, 9, 27}, {60}, {5, 4, 3, 2, 1, 0}};

std::vector<int32_t> first(const std::vector<int32_t>& ids, size_t count) {
  return {ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count)};
}

}  // namespace

TEST_CASE("greedy and beam search give the golden ids", "[generate][golden]") {
  const std::string folder = NEMO_SOURCE_DIR "/tests/golden/generate-greedy";
  LoadedModel loaded = load_model(folder, Device{}, Precision::fp32);
  CHECK(loaded.eos_ids == std::vector<int32_t>{127});
  CHECK(loaded.tokenizer == nullptr);
  const auto golden = read_golden_arrays(folder + "/io.safetensors");
  const Sequences prompts = matrix(golden.at("in.input_ids")), greedy = matrix(golden.at("out.greedy")),
                  beam3 = matrix(golden.at("out.beam3"));
  const auto new_tokens = [&](const Sequences& expected) {
    return static_cast<int64_t>(expected[0].size() - prompts[0].size());
  };
  CHECK(generate(*loaded.ctx, *loaded.model, prompts,
                 {.max_new_tokens = new_tokens(greedy), .eos_ids = loaded.eos_ids}) == greedy);
  CHECK(generate(*loaded.ctx, *loaded.model, prompts,
                 {.max_new_tokens = new_tokens(beam3), .num_beams = 3, .eos_ids = loaded.eos_ids}) == beam3);
}

TEST_CASE("prompts of a batch do not influence one another", "[generate]") {
  const std::string family = GENERATE("gpt", "mistral", "qwen3");
  const int64_t num_beams = GENERATE(1, 3);
  CAPTURE(family, num_beams);
  Ready model(family);
  const GenerateOptions options{.max_new_tokens = 8, .num_beams = num_beams, .eos_ids = {7, 20}};
  const Sequences together = model(kPrompts, options);
  REQUIRE(together.size() == kPrompts.size());
  for (size_t i = 0; i < kPrompts.size(); ++i) {
    CHECK(first(together[i], kPrompts[i].size()) == kPrompts[i]);
    CHECK(together[i].size() > kPrompts[i].size());
    CHECK(model({kPrompts[i]}, options) == Sequences{together[i]});
  }
}

TEST_CASE("sampling repeats with its seed and varies with it", "[generate]") {
  Ready model("llama");
  const auto drawn = [&](const Sequences& prompts, uint64_t seed) {
    return model(prompts, {.max_new_tokens = 9, .sampling = {.temperature = 2, .seed = seed}});
  };
  const Sequences once = drawn(kPrompts, 1);
  CHECK(drawn(kPrompts, 1) == once);
  CHECK(drawn(kPrompts, 2) != once);
  CHECK(drawn({kPrompts[0], {1, 2, 3, 4}, kPrompts[2]}, 1)[2] == once[2]);  // whatever its neighbours are
  const Sequences twins = drawn({kPrompts[0], kPrompts[0]}, 1);
  CHECK(twins[0] != twins[1]);
}

TEST_CASE("a sequence ends with the first of its eos ids", "[generate]") {
  Ready model("llama");
  const std::vector<int32_t> free = model({kPrompts[0]}, {.max_new_tokens = 10})[0];
  for (size_t at = kPrompts[0].size(); at < free.size(); ++at) {
    const size_t earliest = static_cast<size_t>(std::find(free.begin() + 3, free.end(), free[at]) - free.begin());
    const GenerateOptions options{.max_new_tokens = 10, .eos_ids = {60, free[at]}};
    const std::vector<int32_t> ended = model({kPrompts[0]}, options)[0];
    CHECK(ended == first(free, std::min(earliest + 1, ended.size())));
    CHECK((ended.back() == free[at] || ended.back() == 60));
    CHECK(finish_reason(ended, 3, options) == FinishReason::eos);
  }
}

TEST_CASE("a sequence ends where the model's positions do", "[generate]") {
  Ready model("gpt");  // 16 positions
  const GenerateOptions options{.max_new_tokens = 12, .num_beams = GENERATE(1, 2)};
  const Sequences full = model(kPrompts, options);
  CHECK(full[0].size() == 15);
  CHECK(full[1].size() == 13);
  CHECK(full[2].size() == 16);
  CHECK(finish_reason(full[1], 1, options) == FinishReason::max_new_tokens);
  CHECK(finish_reason(full[2], 6, options) == FinishReason::max_position_embeddings);
  CHECK(name(FinishReason::max_position_embeddings) == "max_position_embeddings");
}

TEST_CASE("tokens are told as they come", "[generate]") {
  Ready model("qwen2");
  const GenerateOptions options{.max_new_tokens = 5, .num_beams = GENERATE(1, 2)};
  Sequences told = kPrompts;
  const Sequences result = model(
      kPrompts, options, [&](int64_t sequence, int32_t id) { told[static_cast<size_t>(sequence)].push_back(id); });
  CHECK(told == result);
}

TEST_CASE("generation inside training neither drops nor records, and leaves both as they were", "[generate]") {
  Ready plain("gpt"), training("gpt", 0.4);
  Tape tape;
  const Recording recording(training.ctx, tape);
  training.ctx.set_training(true);
  CHECK(training(kPrompts, {.max_new_tokens = 6}) == plain(kPrompts, {.max_new_tokens = 6}));
  CHECK(tape.num_records() == 0);
  CHECK(training.ctx.tape() == &tape);
  CHECK(training.ctx.training());
}

TEST_CASE("prompts and options that cannot work are refused", "[generate]") {
  Ready model("gpt");
  const auto refusal = [&](const Sequences& prompts, const GenerateOptions& options) {
    return error_of<UsageError>([&] { model(prompts, options); });
  };
  CHECK(refusal({{1}, {}}, {}) == "generate: prompt 1: holds no token; try: a text of one token or more");
  CHECK(refusal({std::vector<int32_t>(16, 1)}, {}) ==
        "generate: prompt 0: is 16 tokens long, which leaves none of the model's max_position_embeddings (16) for an "
        "answer; try: a shorter prompt");
  CHECK(refusal({{1, 61}}, {}) ==
        "generate: prompt 0: token id 61 is not in the vocabulary of 61; try: the tokenizer that belongs to the model");
  CHECK(refusal({{1, -1}}, {}).find("token id -1") != std::string::npos);
  CHECK(refusal({{1}}, {.max_new_tokens = 0}) == "generate: max_new_tokens: 0 asks for nothing; try: 1 or more");
  CHECK(refusal({{1}}, {.num_beams = 0}) == "generate: num_beams: 0 makes no sense; try: 1 (no beam search) or more");
  CHECK(refusal({{1}}, {.sampling = {.temperature = 1}, .num_beams = 2}) ==
        "generate: num_beams: beam search does not sample; try: temperature 0, or num_beams 1");
  CHECK(refusal({{1}}, {.sampling = {.top_p = 2}}).find("top_p") != std::string::npos);
  CHECK(model({}, {}).empty());
}

TEST_CASE("weights that are not finite are told, not sampled from", "[generate]") {
  Ready model("llama");
  Parameter* const norm = model.store.find("final_norm.weight");
  REQUIRE(norm != nullptr);
  model.store.write(model.ctx, *norm, std::vector<float>(48, NAN).data());
  CHECK(error_of<CheckpointError>([&] { model(kPrompts, {}); }) ==
        "generate: logits: are not finite; try: check the weights, or compute in fp32");
}

TEST_CASE("shorter sequences are padded as transformers does", "[generate]") {
  const std::vector<int32_t> eos = {127, 5};
  CHECK(padding_id(3, eos, 1) == 3);
  CHECK(padding_id(0, eos, 1) == 0);
  CHECK(padding_id(0, eos, 3) == 127);
  CHECK(padding_id(3, eos, 3) == 3);
  CHECK(padding_id(std::nullopt, eos, 1) == 127);
}

}  // namespace nemo::test
