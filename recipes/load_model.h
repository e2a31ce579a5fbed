// A trained model opened for use: a Hugging Face folder or a nemo checkpoint, with its tokenizer where it has one.
// Not here: training (recipes/trainer.h), writing either format.
#pragma once
#include <filesystem>
#include <memory>
#include <vector>

#include "core/device/runtime.h"
#include "core/exec_context.h"
#include "core/tokenizer/tokenizer.h"
#include "models/decoder/model.h"
#include "recipes/run_config.h"

namespace nemo {

// Owns all that the model stands on; later members use earlier ones.
struct LoadedModel {
  std::unique_ptr<Runtime> runtime;
  std::unique_ptr<ExecContext> ctx;
  std::unique_ptr<ParameterStore> store;
  std::unique_ptr<DecoderModel> model;
  std::unique_ptr<Tokenizer> tokenizer;  // null: the model speaks ids alone
  std::vector<int32_t> eos_ids;          // of generation_config.json, else config.json, else the tokenizer
};

// path: a folder with config.json and safetensors, a checkpoint, or a run's folder, whose newest checkpoint is taken.
// Weights are held in the precision's compute type, without gradients. CheckpointError where it is none of these or
// does not fit.
LoadedModel load_model(const std::filesystem::path& path, Device device, Precision precision);

}  // namespace nemo
