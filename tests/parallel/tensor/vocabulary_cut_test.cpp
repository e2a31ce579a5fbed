#include "parallel/tensor/vocabulary_cut.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "core/autograd/tape.h"
#include "core/ops/copy.h"
#include "core/optim/step_state.h"
#include "core/sharding/slice.h"
#include "models/decoder/sharding.h"
#include "parallel/apply.h"
#include "tests/models/decoder/small_decoder.h"
#include "tests/parallel/ranks.h"

using namespace nemo;
using namespace nemo::test;

namespace {

using Floats = std::vector<float>;

Floats numbers(int64_t count, uint32_t seed) {
  Floats values;
  for (uint32_t state = seed; static_cast<int64_t>(values.size()) < count;)
    values.push_back(static_cast<float>(static_cast<int32_t>(state = state * 1664525u + 1013904223u)) / 2e9f);
  return values;
}

void expect_near(const Floats& actual, const Floats& expected, const std::string& what) {
  expect_equal(actual.size(), expected.size(), what + " elements");
  double error = 0, scale = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    error += std::pow(static_cast<double>(actual[i]) - expected[i], 2);
    scale += std::pow(static_cast<double>(expected[i]), 2);
  }
  expect(error <= 1e-10 * scale, what + ": relative error " + std::to_string(std::sqrt(error / scale)));
}

constexpr int64_t kTokens = 12, kWidth = 16, kPadded = 48, kClasses = 37;

struct Result {
  Floats log_prob, dx, dweight;
};

// One call of the op, over the rows of the weight and of x that are this rank's.
Result run(ExecContext& ctx, const LinearCrossEntropyOptions& options, int64_t rank, int64_t ranks, int64_t first_row,
           int64_t rows) {
  ParameterStore store;
  Parameter& weight =
      store.declare("head", "output.weight", {kPadded, kWidth}, Initializer::constant(0), kPadded - kClasses);
  cut(weight, {.parameter = "output.weight", .value = Shard{0}, .unit = vocabulary()}, rank, ranks, false);
  store.allocate(ctx, {}, true);
  store.write(ctx, weight, numbers(kPadded * kWidth, 3).data() + weight.slice_offset[0] * kWidth);
  StepStateBuffer state(ctx);
  state.begin(ctx, {.inverse_loss_denominator = 0.25f});
  ctx.set_step_state(state.device());
  std::vector<int32_t> labels;
  for (int32_t t = 0; t < kTokens; ++t)
    labels.push_back(t % 4 == 2 ? kIgnoredLabel : t * 31 % static_cast<int32_t>(kClasses));
  Tape tape;
  const Recording recording(ctx, tape);
  const Tensor x = from_host(ctx, numbers(kTokens * kWidth, 5))
                       .view({kTokens, kWidth})
                       .slice(0, first_row, rows)
                       .with_id(ctx.next_id());
  tape.watch(x);
  const Tensor log_prob = linear_cross_entropy(ctx, x, ParameterSpan(weight), from_host(ctx, labels), options);
  tape.backward(ctx, {{log_prob, options.token_weights_known ? Tensor() : from_host(ctx, numbers(kTokens, 9))}});
  ctx.set_step_state(nullptr);
  return {read_fp32(ctx, log_prob), read_fp32(ctx, tape.gradient(x)), store.read_gradient(ctx, weight)};
}

Floats part(const Floats& whole, int64_t first, int64_t count) {
  return {whole.begin() + first, whole.begin() + first + count};
}

}  // namespace

TEST_CASE("the loss over a cut vocabulary is the uncut one, with token weights known or given", "[parallel][tensor]") {
  for (const int ranks : {2, 3, 4})
    for (const bool known : {true, false})
      for (const bool stream_is_cut : {false, true})
        for (const float softcap : {0.0f, 1.5f}) {
          CAPTURE(ranks, known, stream_is_cut, softcap);
          CHECK_NOTHROW(run_ranks(ranks, [&](Rank& rank) {
            LinearCrossEntropyOptions options{
                .num_classes = kClasses, .softcap = softcap, .token_weights_known = known};
            const Result whole = run(rank.ctx, options, 0, 1, 0, kTokens);
            const RankedVocabularyCut cut({rank.world(), stream_is_cut});
            options.cut = &cut;
            const int64_t rows = stream_is_cut ? kTokens / ranks : kTokens,
                          first = stream_is_cut ? rank.rank * rows : 0;
            const Result ours = run(rank.ctx, options, rank.rank, ranks, first, rows);
            expect_near(ours.log_prob, whole.log_prob, "log_prob");
            expect_near(ours.dx, part(whole.dx, first * kWidth, rows * kWidth), "gradient of x");
            expect_near(ours.dweight,
                        part(whole.dweight, std::min<int64_t>(rank.rank * kPadded / ranks, kClasses) * kWidth,
                             static_cast<int64_t>(ours.dweight.size())),
                        "gradient of the weight");
          }));
        }
}

TEST_CASE("a cut model gives the logits of the whole", "[parallel][tensor]") {
  const DecoderConfig config = small_config("llama");
  MicroBatch batch = small_batch(config, 2, 5);
  const auto logits_of = [&](SmallDecoder& decoder, const ModelRanks& ranks) {
    TokenLayout tokens = place(decoder.ctx, batch, ranks);
    tokens.labels = Tensor();
    const Tensor logits = decoder.model.forward(decoder.ctx, tokens).output;
    const Tensor packed = decoder.ctx.empty(logits.shape(), DType::fp32);
    copy_rows(decoder.ctx, packed, logits);
    return read_fp32(decoder.ctx, packed);
  };
  SmallDecoder whole({}, config);
  whole.allocate();
  const Floats expected = logits_of(whole, {});
  for (const bool sequence_parallel : {false, true})
    CHECK_NOTHROW(run_ranks(2, [&](Rank& rank) {
      const ModelRanks ranks{.tensor = {rank.world(), sequence_parallel}, .context = {}};
      SmallDecoder decoder({}, config);
      cut_parameters(ranks, decoder.store, decoder_sharding(config));
      attach(ranks, decoder.model.seams(), decoder_modules());
      decoder.allocate();
      expect_near(logits_of(decoder, ranks), expected, "logits");
    }));
}
