// A training run's checkpoints: what of a trainer is saved, where, and how it comes back to the same bits.
// Not here: the file format (core/checkpoint), Hugging Face folders (recipes/hf_model.h).
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "core/tokenizer/tokenizer.h"
#include "recipes/schema.h"
#include "recipes/trainer.h"

namespace nemo {

// How far a run has come; saved beside the tensors.
struct RunProgress {
  int64_t step = 0, consumed_samples = 0, skipped_steps = 0;
  std::optional<double> best_validation_loss, last_validation_loss;
};

class RunCheckpoints {
 public:
  RunCheckpoints(const Recipe& recipe, const Tokenizer* tokenizer);
  ~RunCheckpoints();

  // Takes a copy of the trainer's state and writes it in the background (checkpoint.async_save) or at once. Errors of an
  // earlier background save are thrown here or by finish().
  void save(Trainer& trainer, const RunProgress& progress);
  void finish();
  std::filesystem::path last_saved() const { return last_saved_; }

  // The newest good checkpoint of the run's folder; bad ones are named in `notices`.
  std::optional<std::filesystem::path> newest(std::vector<std::string>& notices) const;

 private:
  struct Writer;
  const Recipe& recipe_;
  const Tokenizer* tokenizer_;
  std::filesystem::path folder_;
  std::unique_ptr<Writer> writer_;
  std::filesystem::path last_saved_;
};

// Weights, masters, moments and progress of a checkpoint into the trainer. CheckpointError names what does not fit.
RunProgress load_run(Trainer& trainer, const std::filesystem::path& checkpoint);

}  // namespace nemo
