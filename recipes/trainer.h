// One model in training on one device: what a step does, and what it reports. The walk that docs/architecture.md follows.
// Not here: where batches come from, when to validate, log and save (recipes/pretrain.h).
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "core/autograd/tape.h"
#include "core/data/data_loader.h"
#include "core/optim/adamw.h"
#include "core/optim/step_state.h"
#include "models/decoder/model.h"
#include "recipes/batch_layout.h"
#include "recipes/fp8_layers.h"
#include "recipes/plan.h"
#include "recipes/schema.h"
#include "recipes/step_graphs.h"
#include "recipes/trainer_ranks.h"

namespace nemo {

struct StepReport {
  int64_t step = 0;
  double loss = 0;          // mean over the counted tokens
  double grad_norm = 0;     // before clipping
  double lr = 0;
  bool skipped = false;     // loss or gradient was not finite: the weights are as they were
};

// The report of a queued step; get() waits for that step.
class PendingReport {
 public:
  PendingReport(StepReport known, StepStateSnapshot snapshot) : known_(known), snapshot_(std::move(snapshot)) {}
  StepReport get() const;
  Event take_event() { return snapshot_.take_event(); }  // when the step was done; get() first

 private:
  StepReport known_;  // step, lr
  StepStateSnapshot snapshot_;
};

struct TrainerOptions {
  DecoderConfig model;          // resolved, with vocab_size
  int64_t padded_vocab_size = 0;
  Precision precision = Precision::fp32;
  Fp8Layers fp8_layers;         // none unless precision is fp8-mixed
  OptimizerConfig optim;
  double gradient_clip_val = 0;
  int64_t max_steps = 1;        // where the schedule ends
  ParallelismConfig parallelism = {};
  uint64_t seed = 1234;
  bool deterministic = false;
  bool cuda_graph = true;       // on a GPU, replay steps as CUDA graphs
};
TrainerOptions trainer_options(const Recipe& recipe, const Plan& plan);

class Trainer {
 public:
  // Builds the model as shapes and allocates it; the weights are drawn by initialise() or written through store().
  // groups: of the mesh that the parallelism section asks for; null for one rank. They must outlive the trainer.
  Trainer(Runtime& runtime, const TrainerOptions& options, MeshGroups* groups = nullptr);

  void initialise() { store_.initialise(ctx_, options_.seed); }

  // Queues one optimizer step over this rank's micro-batches of a global batch; `step` counts from 1. Nothing waits for the device.
  PendingReport step(int64_t step, std::span<const MicroBatch> micro_batches);

  // The first half of a step alone: gradients in the store, loss in the report, weights untouched. Waits for the device.
  StepReport accumulate_gradients(std::span<const MicroBatch> micro_batches);

  // Mean loss of the batches, without gradients and dropout.
  double validate(std::span<const MicroBatch> micro_batches);

  ExecContext& ctx() { return ctx_; }
  ParameterStore& store() { return store_; }
  const DecoderModel& model() const { return *chunks_.front(); }  // all of it, where there is no pipeline
  AdamW& optimizer() { return *optimizer_; }
  StepStateBuffer& state() { return state_; }
  TrainerRanks& ranks() { return ranks_; }
  const StepGraphs& graphs() const { return graphs_; }
  const TrainerOptions& options() const { return options_; }

 private:
  void begin_step(kernels::StepState numbers, std::span<const MicroBatch> micro_batches);
  TokenLayout place(const MicroBatch& batch, size_t slot = 0);  // those of different slots stand beside each other
  std::vector<TokenLayout> place_all(std::span<const MicroBatch> micro_batches);
  void forward_backward(const TokenLayout& tokens);

  TrainerOptions options_;
  ExecContext ctx_;
  StepStateBuffer state_;
  ParameterStore store_;
  TrainerRanks ranks_;
  std::vector<std::unique_ptr<DecoderModel>> chunks_;  // one, but for the stages of an interleaved pipeline
  std::unique_ptr<AdamW> optimizer_;
  std::map<std::pair<size_t, int64_t>, BatchBuffers> batch_buffers_;  // by slot and number of tokens
  StepGraphs graphs_;                       // their addresses are those of all the above
};

}  // namespace nemo
