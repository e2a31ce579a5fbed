#include "tests/recipes/layouts.h"

#include <cmath>
#include <mutex>
#include <sstream>

#include "core/data/data_loader.h"
#include "models/registry.h"

namespace nemo::test {
namespace {

constexpr int64_t kSeqLength = 16, kVocabSize = 92;

// Tokens that follow from the sample's number; the share of labels that count differs from sample to sample.
class NumberedSamples final : public Dataset {
 public:
  int64_t num_samples() const override { return 10'000; }
  int64_t seq_length() const override { return kSeqLength; }
  Sample sample(int64_t number) const override {
    Sample sample;
    uint32_t state = static_cast<uint32_t>(number) * 747796405u + 11;
    const auto draw = [&] {
      return static_cast<int32_t>((state = state * 1664525u + 1013904223u) >> 8) % static_cast<int32_t>(kVocabSize);
    };
    for (int64_t t = 0; t < kSeqLength; ++t) {
      sample.tokens.push_back(draw());
      sample.labels.push_back(t % (2 + number % 4) == 1 ? kIgnoredLabel : draw());
      sample.positions.push_back(static_cast<int32_t>(t));
    }
    sample.segment_starts = {0};
    return sample;
  }
};

std::string text(const StepNumbers& numbers) {
  std::ostringstream out;
  out.precision(12);
  out << "loss " << numbers.loss << ", norm " << numbers.grad_norm;
  return out.str();
}

}  // namespace

TrainerOptions tiny_options(const TinyModel& model, const Layout& layout) {
  DecoderConfig config = family_defaults(model.family).value();
  config.num_layers = model.num_layers;
  config.hidden_size = 32;
  config.num_attention_heads = 4;
  config.num_query_groups = model.num_query_groups > 0 ? model.num_query_groups : model.family == "gpt" ? 4 : 2;
  config.head_dim = 8;
  config.ffn_hidden_size = 48;
  config.vocab_size = kVocabSize;
  config.seq_length = config.max_position_embeddings = kSeqLength;
  config.share_embeddings_and_output_weights = model.tied;
  config.hidden_dropout = config.attention_dropout = config.embedding_dropout = 0.1;
  config.resolve();
  TrainerOptions options{.model = config,
                         .padded_vocab_size = 96,
                         .optim = {},
                         .gradient_clip_val = 1.0,
                         .max_steps = 10,
                         .parallelism = layout.parallelism,
                         .seed = 99};
  options.optim.lr = 3e-3;
  options.optim.sched.warmup_steps = 2;
  options.optim.overlap_grad_reduce = options.optim.overlap_param_gather = layout.overlap;
  return options;
}

std::vector<MicroBatch> tiny_batches(int64_t micro_batch_size, int64_t count) {
  DataLoader loader(std::make_shared<NumberedSamples>(),
                    {.micro_batch_size = micro_batch_size, .vocab_size = kVocabSize});
  std::vector<MicroBatch> batches;
  while (static_cast<int64_t>(batches.size()) < count) batches.push_back(loader.next().value());
  return batches;
}

std::vector<StepNumbers> train_under(const TinyModel& model, const Layout& layout, const TrainedSteps& steps) {
  std::vector<StepNumbers> numbers(static_cast<size_t>(steps.last - steps.first));
  std::mutex mutex;
  int reported = 0;
  run_ranks(layout.world_size, [&](Rank& rank) {
    const Mesh mesh(MeshSizes(layout.parallelism, layout.world_size), rank.rank);
    MeshGroups groups(mesh, rank.groups);
    Runtime runtime(Device{}, false);
    Trainer trainer(runtime, tiny_options(model, layout), layout.world_size > 1 ? &groups : nullptr);
    trainer.initialise();
    if (steps.before) steps.before(rank, groups, trainer);
    const int64_t shards = mesh.size(Axis::data);
    DataLoader loader(std::make_shared<NumberedSamples>(), {.micro_batch_size = layout.micro_batch_size,
                                                            .shard_index = mesh.coordinate(Axis::data),
                                                            .num_shards = shards,
                                                            .consumed_samples = steps.first * kGlobalBatchSize,
                                                            .vocab_size = kVocabSize});
    std::vector<StepNumbers> mine;
    for (int64_t step = steps.first + 1; step <= steps.last; ++step) {
      std::vector<MicroBatch> batches;
      for (int64_t i = 0; i < kGlobalBatchSize / (shards * layout.micro_batch_size); ++i)
        batches.push_back(loader.next().value());
      const StepReport report = trainer.step(step, batches).get();
      expect(!report.skipped, "step " + std::to_string(step) + " was taken");
      mine.push_back({report.loss, report.grad_norm});
    }
    if (steps.after) steps.after(rank, groups, trainer);
    const std::lock_guard lock(mutex);
    if (reported++ == 0) numbers = mine;
    for (size_t i = 0; i < mine.size(); ++i)
      expect(mine[i] == numbers[i], "all ranks report the same: " + text(mine[i]) + " and " + text(numbers[i]));
  });
  return numbers;
}

void expect_close(const std::vector<StepNumbers>& actual, const std::vector<StepNumbers>& expected, double relative) {
  expect_equal(actual.size(), expected.size(), "steps");
  const auto close = [&](double a, double b) {
    return relative == 0 ? a == b : std::abs(a - b) <= relative * std::abs(b);
  };
  for (size_t i = 0; i < actual.size(); ++i)
    expect(close(actual[i].loss, expected[i].loss) && close(actual[i].grad_norm, expected[i].grad_norm),
           "step " + std::to_string(i + 1) + ": " + text(actual[i]) + " is " + text(expected[i]));
}

}  // namespace nemo::test
