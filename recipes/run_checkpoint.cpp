#include "recipes/run_checkpoint.h"

#include <set>

#include "core/checkpoint/retention.h"
#include "core/checkpoint/train_state.h"
#include "core/error.h"
#include "core/ops/copy.h"

namespace nemo {
namespace {

constexpr const char* kPlansFile = "plans.json";  // the algorithms in use, so that a resumed run keeps its bits; GPU runs alone

// What of a parameter is kept under <kind>/<name>: elements [first, first + tensor.numel()) of its stored rows (vocabulary padding
// is in no checkpoint), which `tensor` holds.
struct Kept {
  std::string name;
  const Parameter* parameter;
  Tensor tensor;
  int64_t first;
};

// The own part in a tensor laid out like the owned ones.
void keep_part(std::vector<Kept>& kept, const std::string& kind, const Parameter& parameter, const Tensor& owned) {
  const OwnedPart part = owned_part(parameter);
  if (owned.defined() && part.count > 0) kept.push_back({kind + parameter.name, &parameter, owned.segment(part.offset, {part.count}), part.first});
}

// Everything that this rank needs of a checkpoint.
void keep_values(std::vector<Kept>& kept, const Parameter& parameter) {
  if (!parameter.flat->values.defined()) return keep_part(kept, "weight/", parameter, parameter.flat->owned_values);
  const Tensor whole = parameter.stored(parameter.flat->values);
  if (whole.numel() > 0) kept.push_back({"weight/" + parameter.name, &parameter, whole.view({-1}), 0});
}

std::vector<Kept> tensors_to_load(Trainer& trainer) {
  std::vector<Kept> kept;
  for (const Parameter* parameter : trainer.store().parameters()) {
    keep_values(kept, *parameter);
    keep_part(kept, "master/", *parameter, parameter->flat->master);
  }
  for (const AdamW::Moments& moments : trainer.optimizer().moments()) {
    for (const Parameter* parameter : moments.flat->members) {
      keep_part(kept, "exp_avg/", *parameter, moments.first);
      keep_part(kept, "exp_avg_sq/", *parameter, moments.second);
    }
  }
  return kept;
}

// Every element of the run is in exactly one rank's list.
std::vector<Kept> tensors_to_save(Trainer& trainer) {
  std::set<const FlatBuffer*> mine;
  int64_t index = 0;
  for (const FlatBuffer& flat : trainer.store().flat_buffers())
    if (trainer.ranks().saves(flat, index++)) mine.insert(&flat);
  std::vector<Kept> kept;
  for (const Parameter* parameter : trainer.store().parameters()) {
    if (!mine.contains(parameter->flat) || !parameter->copies.first) continue;
    keep_part(kept, "weight/", *parameter, parameter->flat->owned_values);
    keep_part(kept, "master/", *parameter, parameter->flat->master);
  }
  for (const AdamW::Moments& moments : trainer.optimizer().moments()) {
    if (!mine.contains(moments.flat)) continue;
    for (const Parameter* parameter : moments.flat->members) {
      if (!parameter->copies.first) continue;
      keep_part(kept, "exp_avg/", *parameter, moments.first);
      keep_part(kept, "exp_avg_sq/", *parameter, moments.second);
    }
  }
  return kept;
}

// The regions of the global tensor that a kept range is, in the order in which they lie in it.
std::vector<Box> boxes_of(const Kept& kept) {
  const auto dims = [](const Shape& shape) { return std::vector<int64_t>(shape.dims().begin(), shape.dims().end()); };
  const Parameter& parameter = *kept.parameter;
  Shape stored = parameter.shape;
  stored[0] -= parameter.padding_rows;
  std::vector<Box> boxes = boxes_of_range(kept.name, dims(stored), kept.first, kept.first + kept.tensor.numel());
  for (Box& box : boxes) {  // from places in the local slice to places in the whole
    box.shape = dims(parameter.global_shape);
    for (size_t dim = 0; dim < box.offset.size(); ++dim) box.offset[dim] += parameter.slice_offset[static_cast<int>(dim)];
  }
  return boxes;
}

Snapshot take_snapshot(Trainer& trainer) {
  Snapshot snapshot;
  for (const Kept& kept : tensors_to_save(trainer)) {
    int64_t first = 0;
    for (Box& box : boxes_of(kept)) {
      const Tensor part = kept.tensor.segment(first, {box.num_elements()});
      first += part.numel();
      Snapshot::Tensor tensor{.box = std::move(box), .dtype = part.dtype(), .bytes = std::vector<std::byte>(part.bytes())};
      download(trainer.ctx(), tensor.bytes.data(), part);
      snapshot.tensors.push_back(std::move(tensor));
    }
  }
  return snapshot;
}

void load_into(ExecContext& ctx, CheckpointFolder& folder, const Kept& kept, Conversion conversion) {
  std::vector<std::byte> bytes(kept.tensor.bytes());
  std::vector<BoxToLoad> wanted;
  size_t begin = 0;
  for (Box& box : boxes_of(kept)) {
    const size_t count = static_cast<size_t>(box.num_elements()) * size_bytes(kept.tensor.dtype());
    wanted.push_back({.box = std::move(box), .dtype = kept.tensor.dtype(), .bytes = std::span(bytes).subspan(begin, count)});
    begin += count;
  }
  folder.load(wanted, conversion);
  upload(ctx, kept.tensor, bytes.data());
  ctx.synchronize();  // `bytes` ends here
}

std::string state_text(const Trainer& trainer, const RunProgress& progress) {
  TrainState state{.step = progress.step, .consumed_samples = progress.consumed_samples, .skipped_steps = progress.skipped_steps, .seed = trainer.options().seed, .scheduler = {}, .versions = {}, .extra = {}};
  if (progress.best_validation_loss) state.scheduler["best_validation_loss"] = *progress.best_validation_loss;
  if (progress.last_validation_loss) state.scheduler["last_validation_loss"] = *progress.last_validation_loss;
  return to_text(state);
}

std::optional<double> entry(const std::map<std::string, double>& values, const std::string& key) {
  const auto it = values.find(key);
  return it == values.end() ? std::nullopt : std::optional(it->second);
}

}  // namespace

std::filesystem::path checkpoints_folder(const Recipe& recipe) {
  if (!recipe.checkpoint.save.empty()) return recipe.checkpoint.save;
  return std::filesystem::path(recipe.run.results_dir) / recipe.run.name / "checkpoints";
}

void RunCheckpoints::save(Trainer& trainer, const RunProgress& progress) {
  Snapshot snapshot = take_snapshot(trainer);
  Recipe complete = recipe_;
  complete.model = trainer.options().model;  // with the vocabulary's size, which may have come from the tokenizer
  snapshot.files["recipe.yaml"] = print_recipe(complete);
  snapshot.files["state.json"] = state_text(trainer, progress);
  if (const std::string plans = trainer.ctx().runtime().plans().text(); !plans.empty()) snapshot.files[kPlansFile] = plans;
  if (tokenizer_ != nullptr)
    for (const TokenizerFile& file : tokenizer_->files()) snapshot.files[file.name] = file.contents;
  const std::filesystem::path path = checkpoints_folder(recipe_) / checkpoint_name(progress.step);
  if (ranks_.rank == 0) std::filesystem::create_directories(path.parent_path());
  writer_.save(path.string(), std::move(snapshot), recipe_.checkpoint.keep_last, ranks_);
  if (!recipe_.checkpoint.async_save) writer_.wait();
  last_saved_ = path;
}

std::optional<std::filesystem::path> RunCheckpoints::newest(std::vector<std::string>& notices) const {
  const LatestCheckpoint latest = latest_checkpoint(checkpoints_folder(recipe_).string());
  for (const LatestCheckpoint::Skipped& skipped : latest.skipped) notices.push_back("not resumed from " + skipped.path + ": " + skipped.reason);
  if (!latest.path) return std::nullopt;
  return std::filesystem::path(*latest.path);
}

RunProgress load_run(Trainer& trainer, const std::filesystem::path& checkpoint) {
  CheckpointFolder folder(checkpoint.string());
  for (const Kept& kept : tensors_to_load(trainer)) load_into(trainer.ctx(), folder, kept, Conversion::none);
  const TrainState state = train_state_from_text(folder.read_side_file("state.json"), (checkpoint / "state.json").string());
  if (state.seed != trainer.options().seed)
    throw CheckpointError{checkpoint.string(), "run.seed", "was " + std::to_string(state.seed) + " when this was saved and is " + std::to_string(trainer.options().seed) + " now",
                          "run.seed=" + std::to_string(state.seed)};
  if (folder.has_file(kPlansFile)) trainer.ctx().runtime().plans().add((checkpoint / kPlansFile).string(), folder.read_side_file(kPlansFile));
  return {.step = state.step, .consumed_samples = state.consumed_samples, .skipped_steps = state.skipped_steps,
          .best_validation_loss = entry(state.scheduler, "best_validation_loss"), .last_validation_loss = entry(state.scheduler, "last_validation_loss")};
}

void load_weights(ExecContext& ctx, ParameterStore& store, const std::filesystem::path& checkpoint) {
  CheckpointFolder folder(checkpoint.string());
  for (const Parameter* parameter : store.parameters()) {
    std::vector<Kept> wanted;
    keep_values(wanted, *parameter);
    keep_part(wanted, "master/", *parameter, parameter->flat->master);
    const bool master = folder.has_tensor("master/" + parameter->name);
    for (Kept& kept : wanted) {
      kept.name = (master ? "master/" : "weight/") + parameter->name;  // the best there is, for both
      load_into(ctx, folder, kept, Conversion::floats);
    }
  }
}

}  // namespace nemo
