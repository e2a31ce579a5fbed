#include "recipes/convert.h"

#include <filesystem>

#include "core/checkpoint/checkpoint_folder.h"
#include "core/checkpoint/convert_dtype.h"
#include "core/checkpoint/train_state.h"
#include "core/error.h"
#include "models/decoder/model.h"
#include "models/hugging_face.h"
#include "recipes/hf_weights.h"
#include "recipes/schema.h"

namespace nemo {
namespace {

// What a Hugging Face folder holds beside weights; kept in the checkpoint as it is and given back by export.
constexpr const char* kCarriedFiles[] = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                                         "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja"};

// The parameters of a model as files hold them, without padding.
std::vector<NamedShape> parameter_shapes(const DecoderConfig& config) {
  ParameterStore store;
  const DecoderModel model(store, config, config.vocab_size);
  return named_shapes(store);
}

// The same elements in the same order: no copy is needed.
bool is_plain(const StridedCopy& copy, const std::vector<int64_t>& from, const std::vector<int64_t>& to) {
  return from == to && copy.from_start == 0 && copy.to_start == 0 && copy.dims.size() <= 1 && copy.num_elements() == num_elements(from) &&
         (copy.dims.empty() || (copy.dims[0].from_stride == 1 && copy.dims[0].to_stride == 1));
}

std::string recipe_text(const HfConfig& config, bool has_tokenizer) {
  Recipe recipe;
  recipe.model = config.decoder;
  recipe.run.name = "imported";
  if (has_tokenizer) recipe.tokenizer.type = TokenizerType::huggingface;
  if (has_tokenizer) recipe.tokenizer.model = "tokenizer.json";
  return print_recipe(recipe);
}

struct Loaded {
  std::vector<std::byte> bytes;
  DType dtype;
};

// One of our tensors out of a checkpoint, as stored or in the asked dtype.
Loaded load_tensor(CheckpointFolder& folder, const NamedShape& ours, std::optional<DType> dtype) {
  const bool master = dtype == DType::fp32 && folder.has_tensor("master/" + ours.name);
  const std::string name = (master ? "master/" : "weight/") + ours.name;
  const StoredBox* stored = nullptr;
  for (const StoredBox& box : folder.manifest().boxes)
    if (box.box.tensor == name) stored = &box;
  if (stored == nullptr) throw CheckpointError{folder.path(), name, "is missing"};
  Loaded loaded{.bytes = {}, .dtype = dtype.value_or(stored->dtype)};
  loaded.bytes.resize(static_cast<size_t>(num_elements(ours.shape)) * size_bytes(loaded.dtype));
  const BoxToLoad wanted{.box = whole_box(name, ours.shape), .dtype = loaded.dtype, .bytes = loaded.bytes};
  folder.load({&wanted, 1}, Conversion::floats);
  return loaded;
}

std::string exported_config(CheckpointFolder& folder, const DecoderConfig& decoder, const ExportOptions& options, DType dtype) {
  const bool carried = folder.has_file("config.json");
  if (carried && !options.dtype) return folder.read_side_file("config.json");
  HfConfig config = carried ? parse_hf_config(folder.read_side_file("config.json"), folder.path() + "/config.json") : HfConfig{.decoder = decoder, .dtype = dtype, .bos_token_id = {}, .pad_token_id = {}, .eos_token_ids = {}};
  config.dtype = dtype;
  return hf_config_text(config, HfStyle::v4);
}

void write_text(const std::filesystem::path& path, const std::string& text) {
  OutputFile file(path.string());
  file.write(std::as_bytes(std::span(text)));
  file.finish();
}

}  // namespace

ConversionReport import_folder(const std::string& hf_folder, const std::string& checkpoint) {
  const HfConfig config = read_hf_config(hf_folder);
  const std::vector<NamedShape> ours = parameter_shapes(config.decoder);
  const SafetensorsSet set(hf_folder);
  const ImportPlan plan = plan_import(hf_name_table(config.decoder), ours, set);

  std::vector<std::vector<std::byte>> owned(ours.size());
  std::vector<BoxToSave> boxes(ours.size());
  ConversionReport report{.num_tensors = static_cast<int64_t>(plan.tensors.size())};
  for (const TheirTensor& theirs : plan.tensors) {
    const DType dtype = set.find(theirs.name)->dtype;
    for (const TheirTensor::Part& part : theirs.parts) {
      const NamedShape& named = ours[part.ours];
      BoxToSave& box = boxes[part.ours];
      if (!box.bytes.empty() && box.dtype != dtype) throw CheckpointError{hf_folder, theirs.name, "and another part of " + named.name + " have different dtypes"};
      box.box = whole_box("weight/" + named.name, named.shape);
      box.dtype = dtype;
      if (is_plain(part.copy, theirs.shape, named.shape)) {
        box.bytes = set.bytes(theirs.name);
        continue;
      }
      owned[part.ours].resize(static_cast<size_t>(num_elements(named.shape)) * size_bytes(dtype));
      run_copy(part.copy, set.bytes(theirs.name).data(), owned[part.ours].data(), size_bytes(dtype));
      box.bytes = owned[part.ours];
    }
  }
  for (const NamedShape& named : ours) report.num_parameters += num_elements(named.shape);
  report.dtype = boxes.front().dtype;

  SideFiles files;
  for (const char* name : kCarriedFiles) {
    const std::filesystem::path path = std::filesystem::path(hf_folder) / name;
    if (std::filesystem::exists(path)) files[name] = read_text_file(path.string());
  }
  files["recipe.yaml"] = recipe_text(config, files.contains("tokenizer.json"));
  files["state.json"] = to_text(TrainState{});
  save_checkpoint(checkpoint, boxes, files);
  return report;
}

ConversionReport export_checkpoint(const std::string& checkpoint, const std::string& hf_folder, const ExportOptions& options, const RecipeFolders& folders) {
  CheckpointFolder folder(checkpoint);
  const Recipe recipe = parse_recipe(folder.read_side_file("recipe.yaml"), checkpoint + "/recipe.yaml", {}, folders);
  const std::vector<NamedShape> ours = parameter_shapes(recipe.model);
  const std::vector<TheirTensor> theirs = map_names(hf_name_table(recipe.model), ours, Dialect::file);

  ConversionReport report{.num_tensors = static_cast<int64_t>(theirs.size())};
  std::vector<SafetensorsEntry> entries;
  std::map<std::string, const TheirTensor*> by_name;
  for (const TheirTensor& tensor : theirs) {
    const std::string first = "weight/" + ours[tensor.parts.front().ours].name;
    DType dtype = options.dtype.value_or(DType::fp32);
    for (const StoredBox& box : folder.manifest().boxes)
      if (!options.dtype && box.box.tensor == first) dtype = box.dtype;
    entries.push_back({.name = tensor.name, .dtype = dtype, .shape = tensor.shape});
    by_name[tensor.name] = &tensor;
    report.num_parameters += num_elements(tensor.shape);
  }
  report.dtype = entries.front().dtype;

  std::filesystem::create_directories(hf_folder);
  SafetensorsSetWriter writer(hf_folder, entries, options.max_shard_bytes);
  for (const SafetensorsEntry& entry : writer.entries()) {
    const TheirTensor& tensor = *by_name.at(entry.name);
    std::vector<std::byte> bytes(static_cast<size_t>(num_elements(tensor.shape)) * size_bytes(entry.dtype));
    for (const TheirTensor::Part& part : tensor.parts) {
      const Loaded loaded = load_tensor(folder, ours[part.ours], entry.dtype);
      run_copy(part.copy.reversed(), loaded.bytes.data(), bytes.data(), size_bytes(entry.dtype));
    }
    writer.append(entry.name, bytes);
  }
  writer.finish();
  write_text(std::filesystem::path(hf_folder) / "config.json", exported_config(folder, recipe.model, options, report.dtype));
  for (const char* name : kCarriedFiles)
    if (std::string(name) != "config.json" && folder.has_file(name)) write_text(std::filesystem::path(hf_folder) / name, folder.read_side_file(name));
  return report;
}

}  // namespace nemo
