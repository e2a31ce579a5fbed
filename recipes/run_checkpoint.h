// A training run's checkpoints: what of a trainer is saved, where, and how it comes back to the same bits.
// Not here: the folder format (core/checkpoint), Hugging Face folders (recipes/convert.h).
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/checkpoint/checkpoint_writer.h"
#include "core/tokenizer/tokenizer.h"
#include "recipes/schema.h"
#include "recipes/trainer.h"

namespace nemo {

// How far a run has come; saved beside the tensors.
struct RunProgress {
  int64_t step = 0, consumed_samples = 0, skipped_steps = 0;
  std::optional<double> best_validation_loss = {}, last_validation_loss = {};
};

std::filesystem::path checkpoints_folder(const Recipe& recipe);

class RunCheckpoints {
 public:
  // tokenizer may be null; both must outlive this. ranks: those that save together.
  RunCheckpoints(const Recipe& recipe, const Tokenizer* tokenizer, CheckpointRanks ranks = {}) : recipe_(recipe), tokenizer_(tokenizer), ranks_(std::move(ranks)) {}

  // Takes a copy of this rank's part of the trainer's state and writes it, in the background with checkpoint.async_save. An error of an earlier
  // background save is thrown here or by finish().
  void save(Trainer& trainer, const RunProgress& progress);
  void finish() { writer_.wait(); }
  const std::filesystem::path& last_saved() const { return last_saved_; }

  // The newest good checkpoint of the run's folder; newer bad ones are named in `notices`.
  std::optional<std::filesystem::path> newest(std::vector<std::string>& notices) const;

 private:
  const Recipe& recipe_;
  const Tokenizer* tokenizer_;
  CheckpointRanks ranks_;
  CheckpointWriter writer_;
  std::filesystem::path last_saved_;
};

// Weights, masters, moments, library plans and progress of a checkpoint into the trainer, before its first step. CheckpointError names what does not fit.
RunProgress load_run(Trainer& trainer, const std::filesystem::path& checkpoint);

// Weights alone, converted to the store's dtypes: a new run from a pretrained model, or generation.
void load_weights(ExecContext& ctx, ParameterStore& store, const std::filesystem::path& checkpoint);

}  // namespace nemo
