// Whole small decoders cut over tensor and context ranks: loss and every gradient against one rank's.
#include <catch2/catch.hpp>
#include <cmath>
#include <map>

#include "core/ops/copy.h"
#include "models/decoder/sharding.h"
#include "parallel/apply.h"
#include "parallel/tensor/partial_gradients.h"
#include "tests/models/decoder/small_decoder.h"
#include "tests/parallel/ranks.h"

using namespace nemo;
using namespace nemo::test;

namespace {

struct Layout {
  int64_t tensor = 1;
  bool sequence_parallel = false;
  int64_t context = 1;
  ContextParallelComm comm = ContextParallelComm::p2p;
};

struct Outcome {
  double loss_sum = 0;
  std::map<std::string, std::vector<float>> gradients;
};

MeshSizes sizes_of(const Layout& layout) {
  ParallelismConfig config;
  config.tensor_model_parallel_size = layout.tensor;
  config.context_parallel_size = layout.context;
  return MeshSizes(config, layout.tensor * layout.context);
}

void pass(SmallDecoder& decoder, const std::vector<MicroBatch>& batches, const ModelRanks& ranks) {
  ExecContext& ctx = decoder.ctx;
  int64_t counted = 0;
  for (const MicroBatch& batch : batches) counted += batch.num_loss_tokens;
  decoder.state.begin(ctx, {.step = 3, .inverse_loss_denominator = 1.0f / static_cast<float>(counted)});
  ctx.set_training(true);
  decoder.store.begin_step();
  for (const MicroBatch& batch : batches) {
    Tape tape;
    const Recording recording(ctx, tape);
    const Tensor log_prob = decoder.model.forward(ctx, place(ctx, batch, ranks)).output;
    tape.backward(ctx, {{log_prob, Tensor()}});
  }
  decoder.store.zero_unwritten(ctx);
}

Outcome uncut(const DecoderConfig& config, const std::vector<MicroBatch>& batches) {
  SmallDecoder decoder({}, config);
  decoder.allocate();
  pass(decoder, batches, {});
  Outcome outcome{.loss_sum = decoder.state.snapshot(decoder.ctx).get().loss_sum, .gradients = {}};
  for (const Parameter* parameter : decoder.store.parameters())
    outcome.gradients[parameter->name] = decoder.store.read_gradient(decoder.ctx, *parameter);
  return outcome;
}

// A rank's slice of a whole [rows, columns] tensor.
std::vector<float> slice_of(const std::vector<float>& whole, const Parameter& parameter) {
  const int64_t columns = parameter.global_shape.rank() > 1 ? parameter.global_shape[1] : 1,
                own_columns = parameter.shape.rank() > 1 ? parameter.shape[1] : 1;
  const int64_t column0 = parameter.shape.rank() > 1 ? parameter.slice_offset[1] : 0;
  std::vector<float> slice;
  for (int64_t r = 0; r < parameter.shape[0] - parameter.padding_rows; ++r)
    for (int64_t c = 0; c < own_columns; ++c)
      slice.push_back(whole[static_cast<size_t>((parameter.slice_offset[0] + r) * columns + column0 + c)]);
  return slice;
}

double square(const std::vector<float>& x) {
  double sum = 0;
  for (const float value : x) sum += static_cast<double>(value) * value;
  return sum;
}

void run_rank(Rank& rank, const Layout& layout, const DecoderConfig& config, const std::vector<MicroBatch>& batches,
              const Outcome& expected, int64_t padded_vocab_size) {
  MeshGroups groups(Mesh(sizes_of(layout), rank.rank), rank.groups);
  const ModelRanks ranks{.tensor = {groups.group({Axis::tensor}), layout.sequence_parallel},
                         .context = groups.group({Axis::context}),
                         .context_comm = layout.comm};
  SmallDecoder decoder({}, config, DType::fp32, {}, padded_vocab_size);
  cut_parameters(ranks, decoder.store, decoder_sharding(config));
  attach(ranks, decoder.model.seams(), decoder_modules());
  decoder.allocate();
  pass(decoder, batches, ranks);

  ExecContext& ctx = decoder.ctx;
  double whole = 0;
  for (const auto& [name, gradient] : expected.gradients) whole += square(gradient);
  for (FlatBuffer& flat : decoder.store.flat_buffers()) {
    sum_partial_gradients(ctx, flat, ranks.tensor.group);
    ranks.context.all_reduce(ctx, flat.gradients, Reduction::sum, "gradients").wait(ctx);
  }
  for (const Parameter* parameter : decoder.store.parameters()) {
    const std::vector<float> ours = decoder.store.read_gradient(ctx, *parameter),
                             wanted = slice_of(expected.gradients.at(parameter->name), *parameter);
    expect_equal(ours.size(), wanted.size(), parameter->name + " elements");
    double error = 0;
    for (size_t i = 0; i < ours.size(); ++i) error += std::pow(static_cast<double>(ours[i]) - wanted[i], 2);
    const double scale = std::max(square(wanted), 1e-6 * whole);
    expect(std::sqrt(error / scale) < 1e-5,
           parameter->name + " gradient: relative error " + std::to_string(std::sqrt(error / scale)) + " < 1e-5");
  }
  const Tensor loss =
      from_host(ctx, std::vector<float>{static_cast<float>(decoder.state.snapshot(ctx).get().loss_sum)});
  ranks.context.all_reduce(ctx, loss, Reduction::sum, "loss").wait(ctx);
  const double ours = loss.data<float>()[0];
  expect(std::abs(ours / expected.loss_sum - 1) < 1e-5,
         "loss " + std::to_string(ours) + " is " + std::to_string(expected.loss_sum));
}

DecoderConfig model(const std::string& family, int64_t groups = 0) {
  DecoderConfig config = small_config(family);
  if (groups > 0) config.num_query_groups = groups;
  config.num_layers = 2;
  config.hidden_dropout = config.attention_dropout = config.embedding_dropout = 0.2;
  return config;
}

// Two micro-batches of two samples; packed: of documents that end within them.
std::vector<MicroBatch> batches_of(const DecoderConfig& config, bool packed) {
  std::vector<MicroBatch> batches{small_batch(config, 2, 5), small_batch(config, 2, 6)};
  batches[1].sample_numbers = {7, 3};
  if (packed) {
    batches[0].segment_offsets = {0, 5, 16, 27, 28, 32};
    batches[1].segment_offsets = {0, 1, 14, 16, 32};
  }
  return batches;
}

void check(const DecoderConfig& config, const Layout& layout, bool packed = false, int64_t padded_vocab_size = 64) {
  CAPTURE(config.family, config.num_query_groups, layout.tensor, layout.sequence_parallel, layout.context,
          static_cast<int>(layout.comm), packed, padded_vocab_size);
  const std::vector<MicroBatch> batches = batches_of(config, packed);
  const Outcome expected = uncut(config, batches);
  CHECK_NOTHROW(run_ranks(static_cast<int>(layout.tensor * layout.context),
                          [&](Rank& rank) { run_rank(rank, layout, config, batches, expected, padded_vocab_size); }));
}

constexpr ContextParallelComm kComms[] = {ContextParallelComm::all_gather, ContextParallelComm::p2p,
                                          ContextParallelComm::a2a};

}  // namespace

TEST_CASE("tensor parallel gives one rank's loss and gradients", "[parallel][tensor]") {
  for (const char* family : {"gpt", "llama", "qwen2", "qwen3"})
    for (const int64_t tensor : {2, 4})
      for (const bool sequence_parallel : {false, true})
        check(model(family), {.tensor = tensor, .sequence_parallel = sequence_parallel});
}

TEST_CASE("tensor ranks share key and value heads where there are fewer", "[parallel][tensor]") {
  for (const char* family : {"llama", "qwen2", "qwen3"})
    for (const int64_t tensor : {2, 4})
      for (const bool sequence_parallel : {false, true})
        check(model(family, 1), {.tensor = tensor, .sequence_parallel = sequence_parallel});
}

TEST_CASE("a tensor rank may hold vocabulary padding alone", "[parallel][tensor]") {
  for (const char* family : {"gpt", "llama"})
    check(model(family), {.tensor = 4, .sequence_parallel = true}, false, 128);
}

TEST_CASE("context parallel gives one rank's loss and gradients", "[parallel][context]") {
  for (const char* family : {"gpt", "llama"})
    for (const ContextParallelComm comm : kComms)
      for (const bool packed : {false, true}) {
        check(model(family), {.context = 2, .comm = comm}, packed);
        if (comm != ContextParallelComm::a2a || std::string(family) == "gpt")
          check(model(family), {.context = 4, .comm = comm}, packed);
      }
}

TEST_CASE("context parallel with a window gathers or exchanges", "[parallel][context]") {
  for (const ContextParallelComm comm : {ContextParallelComm::all_gather, ContextParallelComm::a2a})
    for (const bool packed : {false, true}) check(model("mistral"), {.context = 2, .comm = comm}, packed);
}

TEST_CASE("tensor, sequence and context parallel together", "[parallel][context][tensor]") {
  for (const char* family : {"gpt", "llama"})
    for (const ContextParallelComm comm : kComms) {
      if (comm == ContextParallelComm::a2a && std::string(family) == "llama") continue;  // one group a tensor rank
      for (const bool packed : {false, true})
        check(model(family), {.tensor = 2, .sequence_parallel = true, .context = 2, .comm = comm}, packed);
    }
  check(model("llama", 1), {.tensor = 2, .context = 2, .comm = ContextParallelComm::p2p});
}

TEST_CASE("what is computed again exchanges again", "[parallel][context][tensor]") {
  for (const RecomputeGranularity granularity : {RecomputeGranularity::full, RecomputeGranularity::selective})
    for (const ContextParallelComm comm : kComms) {
      DecoderConfig config = model("gpt");
      config.recompute_granularity = granularity;
      if (granularity == RecomputeGranularity::full) {
        config.recompute_method = RecomputeMethod::uniform;
        config.recompute_num_layers = 1;
      } else {
        config.recompute_modules = {"core_attn", "layernorm", "mlp"};
      }
      check(config, {.tensor = 2, .sequence_parallel = true, .context = 2, .comm = comm});
    }
}
