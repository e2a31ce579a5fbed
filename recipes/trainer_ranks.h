// What the ranks of a mesh do together in a trainer: who builds which blocks, who keeps which elements, and the sums of
// a step. With one rank every call here does nothing, and a step is what it is on one device. Not here: the plans
// themselves (parallel/), the step (recipes/trainer.h).
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/optim/config.h"
#include "core/optim/step_state.h"
#include "models/decoder/model.h"
#include "parallel/apply.h"
#include "parallel/data/data_parallel.h"
#include "parallel/mesh_groups.h"
#include "parallel/pipeline/pipeline.h"

namespace nemo {

class TrainerRanks {
 public:
  // groups: null for one rank; else it must outlive this.
  TrainerRanks(MeshGroups* groups, const ParallelismConfig& parallelism, const OptimizerConfig& optim,
               ParameterStore& store);

  const Mesh& mesh() const { return mesh_; }
  // The blocks of each chunk of the model that this rank builds, in order.
  std::vector<BlockRange> block_ranges(const DecoderConfig& config) const;
  // The chunks stand as shapes: slices the parameters and attaches what the slices need.
  void cut_model(ParameterStore& store, const std::vector<std::unique_ptr<DecoderModel>>& chunks) const;
  const ModelRanks& model() const { return model_; }
  FlatCut cut() const { return data_parallel_.cut(); }
  // The store is allocated: follows the blocks of the chunks, and runs them as pipeline stages where there are several.
  void follow(ExecContext& ctx, const std::vector<std::unique_ptr<DecoderModel>>& chunks);

  // ---- of a step ----
  // Ranks that share sequences are all given them: one of them counts their tokens.
  bool counts_loss_tokens() const { return model_.context.rank() == 0; }
  void begin_step(ExecContext& ctx, const StepStateBuffer& state,
                  int64_t num_micro_batches);  // the loss's denominator over all ranks
  const BlockHooks& block_hooks() const { return alone_ ? no_hooks_ : data_parallel_.hooks(); }
  bool has_pipeline() const { return pipeline_ != nullptr; }
  // The placed micro-batches through all stages. training: with backward.
  void run_pipeline(ExecContext& ctx, std::span<const TokenLayout> micro_batches, bool training);
  void sum_gradients(ExecContext& ctx, ParameterStore& store);  // over ranks with other samples, and tied copies
  void sum_norm(ExecContext& ctx, const StepStateBuffer& state) const;  // squares of the own parts, and the loss
  void sum_loss(ExecContext& ctx, const StepStateBuffer& state) const;
  void gather_values(ExecContext& ctx) { data_parallel_.gather_values(ctx); }  // after the update
  void wait_for_values(ExecContext& ctx) { data_parallel_.wait_for_values(ctx); }

  // This rank writes the own part of a buffer to checkpoints: others hold the same.
  bool saves(const FlatBuffer& flat, int64_t index) const;

 private:
  bool alone_;
  BlockHooks no_hooks_;
  Mesh mesh_;
  ModelRanks model_;
  ProcessGroup pipeline_group_, copies_group_, data_;
  DataParallel data_parallel_;
  PipelineLinks links_;
  ParallelismConfig parallelism_;
  std::unique_ptr<Pipeline> pipeline_;
  std::span<const TokenLayout> micro_batches_;  // while the pipeline runs
  std::vector<BlockOrder> orders_;
};

}  // namespace nemo
