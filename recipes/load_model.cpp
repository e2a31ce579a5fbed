#include "recipes/load_model.h"

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "core/checkpoint/checkpoint_folder.h"
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

// What generation_config.json says of eos_token_id: a number, a list or nothing. Empty also where there is no such file.
std::vector<int32_t> generation_eos_ids(const fs::path& folder) {
  const fs::path path = folder / "generation_config.json";
  std::ifstream in(path, std::ios::binary);
  if (!in) return {};
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const nlohmann::json file = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!file.is_object()) throw CheckpointError{path.string(), "", "is not a JSON object"};
  const auto eos = file.find("eos_token_id");
  if (eos == file.end() || eos->is_null()) return {};
  std::vector<int32_t> ids;
  for (const nlohmann::json& id : eos->is_array() ? *eos : nlohmann::json::array({*eos})) {
    if (!id.is_number_integer()) throw CheckpointError{path.string(), "eos_token_id", "is neither an id nor a list of ids"};
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

LoadedModel load_hugging_face(const fs::path& folder, Device device, Precision precision) {
  const HfConfig config = read_hf_config(folder.string());
  const SafetensorsSet set(folder.string());
  LoadedModel loaded = allocate(config.decoder, device, precision);
  import_weights(*loaded.ctx, *loaded.store, config.decoder, set);
  if (fs::exists(folder / "tokenizer.json")) loaded.tokenizer = load_tokenizer(TokenizerType::huggingface, folder);
  loaded.eos_ids = generation_eos_ids(folder);
  if (loaded.eos_ids.empty()) loaded.eos_ids.assign(config.eos_token_ids.begin(), config.eos_token_ids.end());
  return loaded;
}

LoadedModel load_checkpoint(const fs::path& folder, Device device, Precision precision) {
  const std::string text = CheckpointFolder(folder.string()).read_side_file("recipe.yaml");
  const Recipe recipe = parse_recipe(text, (folder / "recipe.yaml").string(), {}, RecipeFolders({}));
  LoadedModel loaded = allocate(recipe.model, device, precision);
  load_weights(*loaded.ctx, *loaded.store, folder);
  if (recipe.tokenizer.type != TokenizerType::none) loaded.tokenizer = load_tokenizer(recipe.tokenizer.type, folder);
  loaded.eos_ids = generation_eos_ids(folder);
  if (loaded.eos_ids.empty() && loaded.tokenizer && loaded.tokenizer->eos()) loaded.eos_ids = {*loaded.tokenizer->eos()};
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
  throw CheckpointError{path.string(), "", fs::exists(path) ? "holds no model" : "does not exist",
                        "a Hugging Face folder (config.json), a checkpoint (manifest.json), or the folder of a run that saved one"};
}

}  // namespace nemo
