#include "recipes/trainer_ranks.h"

#include "core/error.h"
#include "models/decoder/sharding.h"
#include "parallel/pipeline/stage_layers.h"
#include "parallel/tensor/partial_gradients.h"

namespace nemo {
namespace {

bool shards_state(const ParallelismConfig& parallelism) {
  return parallelism.data_parallel_sharding_strategy != DataParallelSharding::no_shard;
}

// Ranks that hold copies of one table: the first and the last stage.
ProcessGroup group_of_copies(MeshGroups& groups) {
  const std::vector<int> stages = groups.mesh().members({Axis::pipeline});
  const int rank = groups.mesh().rank();
  if (stages.size() == 1 || (rank != stages.front() && rank != stages.back())) return {};
  return groups.factory().make("tied_copies", {stages.front(), stages.back()});
}

ModelRanks model_ranks(MeshGroups* groups, const ParallelismConfig& parallelism) {
  if (groups == nullptr) return {};
  const ProcessGroup tensor = groups->group({Axis::tensor});
  return {.tensor = {tensor, parallelism.sequence_parallel && tensor.size() > 1},
          .context = groups->group({Axis::context}),
          .context_comm = parallelism.cp_comm_type};
}

DataParallelOptions data_parallel_options(const ParallelismConfig& parallelism, const OptimizerConfig& optim) {
  return {.sharding = parallelism.data_parallel_sharding_strategy,
          .overlap_grad_reduce = optim.overlap_grad_reduce,
          .overlap_param_gather = optim.overlap_param_gather,
          .deferred_weight_gradients = parallelism.pipeline_schedule == PipelineSchedule::zero_bubble};
}

}  // namespace

TrainerRanks::TrainerRanks(MeshGroups* groups, const ParallelismConfig& parallelism, const OptimizerConfig& optim,
                           ParameterStore& store)
    : alone_(groups == nullptr),
      mesh_(groups == nullptr ? Mesh() : groups->mesh()),
      model_(model_ranks(groups, parallelism)),
      pipeline_group_(groups == nullptr ? ProcessGroup() : groups->group({Axis::pipeline})),
      copies_group_(groups == nullptr ? ProcessGroup() : group_of_copies(*groups)),
      data_(groups == nullptr ? ProcessGroup() : groups->group({Axis::data, Axis::context})),
      data_parallel_(store, groups != nullptr && shards_state(parallelism) ? groups->shard() : ProcessGroup(),
                     groups == nullptr           ? ProcessGroup()
                     : shards_state(parallelism) ? groups->replica()
                                                 : data_,
                     data_parallel_options(parallelism, optim)),
      parallelism_(parallelism) {
  if (groups == nullptr) return;
  data_parallel_.set_before_reduction([tensor = model_.tensor.group](ExecContext& ctx, const FlatBuffer& flat) {
    sum_partial_gradients(ctx, flat, tensor);
  });
  const std::vector<int> stages = mesh_.members({Axis::pipeline});
  links_ = PipelineLinks(groups->factory(), stages, mesh_.coordinate(Axis::pipeline),
                         parallelism.virtual_pipeline_model_parallel_size > 1);
}

std::vector<BlockRange> TrainerRanks::block_ranges(const DecoderConfig& config) const {
  const int64_t num_stages = mesh_.size(Axis::pipeline),
                num_chunks = num_stages == 1 ? 1 : parallelism_.virtual_pipeline_model_parallel_size;
  if (num_stages == 1) return {all_blocks(config)};
  std::vector<BlockRange> ranges;
  for (const StageBlocks& blocks : blocks_of_stage(
           layers_of_stages(config.num_layers, num_stages, num_chunks, parallelism_.pipeline_model_parallel_layout),
           num_stages, mesh_.coordinate(Axis::pipeline)))
    ranges.push_back({blocks.begin, blocks.end});
  return ranges;
}

void TrainerRanks::cut_model(ParameterStore& store, const std::vector<std::unique_ptr<DecoderModel>>& chunks) const {
  cut_parameters(model_, store, decoder_sharding(chunks.front()->config()));
  for (const auto& chunk : chunks) attach(model_, chunk->seams(), decoder_modules());
}

void TrainerRanks::follow(ExecContext& ctx, const std::vector<std::unique_ptr<DecoderModel>>& chunks) {
  std::vector<PipelineChunk> stages;
  for (const auto& chunk : chunks) {
    const DecoderModel* const model = chunk.get();
    const int64_t begin = model->range().begin, hidden_size = model->config().hidden_size;
    BlockOrder order{.blocks = {}, .first_is_leaf = begin == 0};
    for (int64_t i = 0; i < model->num_blocks(); ++i) order.blocks.push_back(model->block(i).name());
    orders_.push_back(std::move(order));
    stages.push_back(
        {.forward =
             [this, model](ExecContext& ctx, const Bundle& in, int64_t micro_batch) {
               return model->forward(ctx, micro_batches_[static_cast<size_t>(micro_batch)], in);
             },
         .input_shape =
             [this, hidden_size](int64_t micro_batch) {
               return Shape{micro_batches_[static_cast<size_t>(micro_batch)].num_stream_rows(), hidden_size};
             },
         .takes_branch = begin > 1});  // the embedding alone leaves no branch
  }
  data_parallel_.follow(ctx, orders_);
  ctx.set_block_hooks(&block_hooks());
  if (mesh_.size(Axis::pipeline) > 1)
    pipeline_ = std::make_unique<Pipeline>(ctx, links_, parallelism_.pipeline_schedule, mesh_.size(Axis::pipeline),
                                           mesh_.coordinate(Axis::pipeline), std::move(stages));
}

void TrainerRanks::begin_step(ExecContext& ctx, const StepStateBuffer& state, int64_t num_micro_batches) {
  data_parallel_.begin_step(num_micro_batches);
  if (data_.size() == 1) return;
  data_.all_reduce(ctx, state.num_loss_tokens(), Reduction::sum, "loss_tokens").wait(ctx);
  state.finish_loss_tokens(ctx);
}

void TrainerRanks::run_pipeline(ExecContext& ctx, std::span<const TokenLayout> micro_batches, bool training) {
  micro_batches_ = micro_batches;
  const int64_t count = static_cast<int64_t>(micro_batches.size());
  if (training)
    pipeline_->train(ctx, count, data_parallel_.hooks(), [this](ExecContext& ctx, int64_t chunk) {
      data_parallel_.count_backward(ctx, orders_[static_cast<size_t>(chunk)].blocks);
    });
  else
    pipeline_->evaluate(ctx, count);
  micro_batches_ = {};
}

void TrainerRanks::sum_gradients(ExecContext& ctx, ParameterStore& store) {
  data_parallel_.finish_gradients(ctx);
  if (copies_group_.size() == 1) return;
  for (FlatBuffer& flat : store.flat_buffers())
    if (flat.copy != Parameter::Copy::none && flat.key.trainable)
      copies_group_.all_reduce(ctx, flat.owned_gradients, Reduction::sum, flat.key.alone).wait(ctx);
}

void TrainerRanks::sum_norm(ExecContext& ctx, const StepStateBuffer& state) const {
  data_parallel_.shard().all_reduce(ctx, state.grad_square_sum(), Reduction::sum, "grad_norm").wait(ctx);
  model_.tensor.group.all_reduce(ctx, state.grad_square_sum(), Reduction::sum, "grad_norm").wait(ctx);
  pipeline_group_.all_reduce(ctx, state.grad_square_sum(), Reduction::sum, "grad_norm").wait(ctx);
  sum_loss(ctx, state);
}

void TrainerRanks::sum_loss(ExecContext& ctx, const StepStateBuffer& state) const {
  data_.all_reduce(ctx, state.loss_sum(), Reduction::sum, "loss").wait(ctx);
  pipeline_group_.all_reduce(ctx, state.loss_sum(), Reduction::sum, "loss").wait(ctx);
}

bool TrainerRanks::saves(const FlatBuffer& flat, int64_t index) const {
  if (flat.copy == Parameter::Copy::second) return false;
  const ProcessGroup& replica = data_parallel_.replica();
  return index % replica.size() == replica.rank();
}

}  // namespace nemo
