// The decoder through its cache gives the logits of the decoder over the whole text.
#include <catch2/catch.hpp>
#include <numeric>

#include "core/nn/kv_cache.h"
#include "core/ops/copy.h"
#include "tests/models/decoder/small_decoder.h"

namespace nemo::test {
namespace {

// Logits [tokens, vocab_size] of one text, without a cache.
std::vector<float> logits_at_once(SmallDecoder& decoder, const std::vector<int32_t>& ids) {
  std::vector<int32_t> positions(ids.size());
  std::iota(positions.begin(), positions.end(), 0);
  const MicroBatch batch{.micro_batch_size = 1,
                         .seq_length = static_cast<int64_t>(ids.size()),
                         .tokens = ids,
                         .labels = ids,
                         .positions = positions,
                         .segment_offsets = {0, static_cast<int32_t>(ids.size())},
                         .sample_numbers = {0}};
  TokenLayout tokens = place(decoder.ctx, batch);
  tokens.labels = Tensor();  // logits are wanted
  const Tensor logits = decoder.model.forward(decoder.ctx, tokens).output,
               whole = decoder.ctx.empty(logits.shape(), logits.dtype());
  copy_rows(decoder.ctx, whole, logits);
  return read_fp32(decoder.ctx, whole);
}

void check_close(const float* ours, const float* expected, int64_t count) {
  float worst = 0, largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    worst = std::max(worst, std::abs(ours[i] - expected[i]));
    largest = std::max(largest, std::abs(expected[i]));
  }
  CHECK(largest > 0.01f);
  CHECK(worst <= 2e-6f * largest + 1e-7f);
}

}  // namespace

TEST_CASE("logits through the cache are those of the whole text", "[kv_cache]") {
  const std::string family = GENERATE("gpt", "llama", "mistral", "qwen2", "qwen3");
  CAPTURE(family);
  const DecoderConfig config = small_config(family);
  SmallDecoder decoder({}, config);
  decoder.allocate();
  ExecContext& ctx = decoder.ctx;
  const std::vector<int32_t> ids = small_batch(config, 2, 11).tokens;
  const std::vector<std::vector<int32_t>> texts = {{ids.begin(), ids.begin() + 16},
                                                   {ids.begin() + 16, ids.begin() + 27}};
  const std::vector<std::vector<float>> expected = {logits_at_once(decoder, texts[0]),
                                                    logits_at_once(decoder, texts[1])};

  KvCache cache(ctx, config.num_layers, 2, 16, config.num_query_groups, config.head_dim);
  const bool last_rows_only = GENERATE(false, true);
  for (const std::vector<int64_t>& counts :
       std::vector<std::vector<int64_t>>{{7, 3}, {1, 1}, {1, 0}, {4, 6}, {2, 1}, {1, 0}}) {
    std::vector<int32_t> step, last_rows;
    std::vector<std::pair<size_t, int64_t>> rows;  // text and position of each row of logits
    for (size_t i = 0; i < 2; ++i) {
      const int64_t length = cache.length(static_cast<int64_t>(i));
      for (int64_t t = length; t < length + counts[i]; ++t) {
        step.push_back(texts[i][static_cast<size_t>(t)]);
        if (!last_rows_only || t + 1 == length + counts[i]) rows.push_back({i, t});
      }
      if (counts[i] > 0) last_rows.push_back(static_cast<int32_t>(step.size()) - 1);
    }
    TokenLayout tokens = cache.layout(ctx, step, counts);
    if (last_rows_only) {
      tokens.output_rows = ctx.empty({static_cast<int64_t>(last_rows.size())}, DType::int32);
      upload(ctx, tokens.output_rows, last_rows.data());
    }
    const Tensor logits = decoder.model.forward(ctx, tokens).output;
    cache.advance(counts);
    REQUIRE(logits.shape() == Shape{static_cast<int64_t>(rows.size()), config.vocab_size});
    const Tensor whole = ctx.empty(logits.shape(), logits.dtype());
    copy_rows(ctx, whole, logits);
    const std::vector<float> ours = read_fp32(ctx, whole);
    for (size_t r = 0; r < rows.size(); ++r) {
      const auto& [text, position] = rows[r];
      check_close(ours.data() + static_cast<int64_t>(r) * config.vocab_size,
                  expected[text].data() + position * config.vocab_size, config.vocab_size);
    }
  }
}

}  // namespace nemo::test
