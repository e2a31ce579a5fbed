#include "recipes/load_model.h"

#include <nlohmann/json.hpp>

#include "core/checkpoint/checkpoint_folder.h"
#include "core/checkpoint/file.h"
#include "core/checkpoint/retention.h"
#include "core/checkpoint/safetensors_set.h"
#include "core/error.h"
#include "models/hugging_face.h"
#include "recipes/hf_weights.h"
#include "recipes/precision.h"
#include "recipes/run_checkpoint.h"
#include "recipes/schema.h"

namespace nemo {
namespace {

namespace fs = std::filesystem;

// Stored vocabulary rows are a multiple of this, so that every row of logits starts aligned.
constexpr int64_t kVocabMultiple = 128;

LoadedModel allocate(const DecoderConfig& config, Device device, Precision precision) {
  LoadedModel loaded;
  loaded.runtime = std::make_unique<Runtime>(device);
  loaded.ctx = std::make_unique<ExecContext>(*loaded.runtime, compute_dtype(precision));
  loaded.store = std::make_unique<ParameterStore>();
  const int64_t padded = (config.vocab_size + kVocabMultiple - 1) / kVocabMultiple * kVocabMultiple;
  loaded.model = std::make_unique<DecoderModel>(*loaded.store, config, padded);
  loaded.store->allocate(*loaded.ctx, {.values = compute_dtype(precision)}, false);
  loaded.model->allocate_constants(*loaded.ctx);
  return loaded;
}

// What generation_config.json says of eos_token_id: a number, a list or nothing.
std::vector<int32_t> generation_eos_ids(const fs::path& path) {
  const std::string text = read_text_file(path.string());
  const nlohmann::json file = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!file.is_object()) throw CheckpointError{path.string(), "", "is not a JSON object"};
  const auto eos = file.find("eos_token_id");
  if (eos == file.end() || eos->is_null()) return {};
  std::vector<int32_t> ids;
  for (const nlohmann::json& id : eos->is_array() ? *eos : nlohmann::json::array({*eos})) {
    if (!id.is_number_integer())
      throw CheckpointError{path.string(), "eos_token_id", "is neither an id nor a list of ids"};
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

// Of the files that Hugging Face folders hold, and checkpoints made from them, in transformers' order; else the
// tokenizer's.
std::vector<int32_t> find_eos_ids(const fs::path& folder, const Tokenizer* tokenizer) {
  std::vector<int32_t> ids;
  if (fs::exists(folder / "generation_config.json")) ids = generation_eos_ids(folder / "generation_config.json");
  if (ids.empty() && fs::exists(folder / "config.json")) {
    const std::vector<int64_t> eos = read_hf_config(folder.string()).eos_token_ids;
    ids.assign(eos.begin(), eos.end());
  }
  if (ids.empty() && tokenizer != nullptr && tokenizer->eos()) ids = {*tokenizer->eos()};
  return ids;
}

LoadedModel load_hugging_face(const fs::path& folder, Device device, Precision precision) {
  const HfConfig config = read_hf_config(folder.string());
  const SafetensorsSet set(folder.string());
  LoadedModel loaded = allocate(config.decoder, device, precision);
  import_weights(*loaded.ctx, *loaded.store, config.decoder, set);
  if (fs::exists(folder / "tokenizer.json")) loaded.tokenizer = load_tokenizer(TokenizerType::huggingface, folder);
  loaded.eos_ids = find_eos_ids(folder, loaded.tokenizer.get());
  return loaded;
}

LoadedModel load_checkpoint(const fs::path& folder, Device device, Precision precision) {
  const std::string text = CheckpointFolder(folder.string()).read_side_file("recipe.yaml");
  const Recipe recipe = parse_recipe(text, (folder / "recipe.yaml").string(), {}, RecipeFolders({}));
  LoadedModel loaded = allocate(recipe.model, device, precision);
  load_weights(*loaded.ctx, *loaded.store, folder);
  if (recipe.tokenizer.type != TokenizerType::none) loaded.tokenizer = load_tokenizer(recipe.tokenizer.type, folder);
  loaded.eos_ids = find_eos_ids(folder, loaded.tokenizer.get());
  return loaded;
}

}  // namespace

LoadedModel load_model(const fs::path& path, Device device, Precision precision) {
  if (fs::exists(path / "manifest.json")) return load_checkpoint(path, device, precision);
  if (fs::exists(path / "config.json")) return load_hugging_face(path, device, precision);
  if (fs::is_directory(path / "checkpoints")) {
    const LatestCheckpoint latest = latest_checkpoint((path / "checkpoints").string());
    if (latest.path) return load_checkpoint(*latest.path, device, precision);
  }
  throw CheckpointError{
      path.string(), "", fs::exists(path) ? "holds no model" : "does not exist",
      "a Hugging Face folder (config.json), a checkpoint (manifest.json), or the folder of a run that saved one"};
}

}  // namespace nemo
