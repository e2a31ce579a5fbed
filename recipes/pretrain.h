// The pretraining run: recipe in, trained model out. Opens data, builds the trainer, steps, validates, logs, saves.
// Not here: what a step does (recipes/trainer.h), what a checkpoint holds (recipes/run_checkpoint.h), terminals (cli).
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "core/checkpoint/checkpoint_writer.h"
#include "core/device/device.h"
#include "parallel/comm/process_group.h"
#include "recipes/run_events.h"
#include "recipes/schema.h"

namespace nemo {

// The ranks that train together, as the launcher gives them; default: one, alone.
struct RunRanks {
  GroupFactory* groups = nullptr;      // must outlive the run
  CheckpointRanks notes = {};          // between them, beside the training
  std::function<void()> ask_to_stop = {};                    // any rank, when it shall end
  std::function<bool(int64_t step)> begin_step = {};         // each rank, before each step: true where they agreed that it is the last
};

struct PretrainOptions {
  Device device;
  RunRanks ranks = {};
  // automatic: from the run's newest good checkpoint where checkpoint.resume_if_exists says so; never: refuse nothing, start
  // new; path: that checkpoint.
  enum class Resume : uint8_t { automatic, never, path } resume = Resume::automatic;
  std::string resume_path = {};
  std::filesystem::path plan_folder = {};  // where plans picked by timing are kept for later runs; empty: nowhere
};

struct RunResult {
  int64_t steps = 0;                      // taken in all, those before a resume included
  double loss = 0;                        // of the last step
  std::optional<double> validation_loss;  // the last one
  bool stopped = false;                   // asked to stop before max_steps, or max_time was over
  std::filesystem::path folder;           // the run's
  std::filesystem::path checkpoint;       // the last saved; empty when nothing was
};

std::filesystem::path run_folder(const Recipe& recipe);

RunResult pretrain(const Recipe& recipe, const PretrainOptions& options, const RunEvents& events);

}  // namespace nemo
