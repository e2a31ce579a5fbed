// `nemo bench train`: a recipe's real training step on made-up tokens, timed. Nothing is written to disk.
// Not here: runs that are kept (recipes/pretrain.h), single kernels (recipes/bench/kernel_case.h), printing (cli).
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/config/source.h"
#include "core/device/device.h"
#include "recipes/bench/step_profile.h"
#include "recipes/bench/timing.h"
#include "recipes/plan.h"
#include "recipes/schema.h"

namespace nemo {

// What the command line says besides overrides; what is not given is the recipe's.
struct BenchTrainSettings {
  std::string recipe;  // a shipped recipe's name or a .yaml file
  std::optional<int64_t> micro_batch_size, seq_length;
  std::optional<int64_t> global_batch_size;  // neither here nor in the overrides: one micro-batch
  std::optional<std::string> precision;
  std::vector<std::string> overrides;  // key.path=value, above all of these
};

// The recipe on made-up tokens, without validation and checkpoints.
Recipe bench_train_recipe(const BenchTrainSettings& settings, const RecipeFolders& folders);

struct BenchTrainOptions {
  Device device;
  int64_t num_warmup_steps = 5, num_steps = 20;  // at least 1 each
  bool profile = false;                          // CUDA only: some more steps, traced kernel by kernel
  double process_age_s = 0;  // when bench_train is called: first_step_s counts from the process's start
};

struct TrainBench {
  Plan plan;
  Spread step_ms;                       // from the end of one step to the end of the next
  double tokens_per_s = 0;              // of the median step
  double tflops_causal = 0;             // attention counted as far as queries see keys
  double tflops_megatron = 0;           // every query meets every key
  std::optional<double> mfu_datasheet;  // tflops_causal over the datasheet's; nothing where the device is unknown
  GemmPeak gemm_peak;                   // measured after the run, in the same process
  size_t peak_memory_bytes = 0, estimated_memory_bytes = 0;  // of the arena; the second: a dry run's
  double first_step_s = 0;                                   // from the process's start to the end of its first step
  double loss_first = 0, loss_last = 0;
  std::optional<StepProfile> profile;

  double share_of_gemm_peak() const { return tflops_causal / gemm_peak.tflops; }
};

// Throws RecipeError where the recipe cannot run, DeviceError where a profile is asked for and cannot be had.
TrainBench bench_train(const Recipe& recipe, const BenchTrainOptions& options);

}  // namespace nemo
