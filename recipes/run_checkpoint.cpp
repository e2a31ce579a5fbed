#include "recipes/run_checkpoint.h"

#include "core/checkpoint/retention.h"
#include "core/checkpoint/train_state.h"
#include "core/error.h"
#include "core/ops/copy.h"

namespace nemo {
namespace {

constexpr const char* kPlansFile = "plans.json";  // the algorithms in use, so that a resumed run keeps its bits; GPU runs alone

// What of a parameter is kept, under <kind>/<name>: the tensors that hold its slice in a trainer.
struct Kept {
  std::string name;
  const Parameter* parameter;
  Tensor tensor;  // stored rows: vocabulary padding is in no checkpoint
};

std::vector<Kept> kept_tensors(Trainer& trainer) {
  std::vector<Kept> kept;
  for (const Parameter* parameter : trainer.store().parameters()) {
    kept.push_back({"weight/" + parameter->name, parameter, parameter->stored(parameter->flat->values)});
    if (parameter->flat->master.defined()) kept.push_back({"master/" + parameter->name, parameter, parameter->stored(parameter->flat->master)});
  }
  for (const AdamW::Moments& moments : trainer.optimizer().moments()) {
    for (const Parameter* parameter : moments.flat->members) {
      kept.push_back({"exp_avg/" + parameter->name, parameter, parameter->stored(moments.first)});
      kept.push_back({"exp_avg_sq/" + parameter->name, parameter, parameter->stored(moments.second)});
    }
  }
  return kept;
}

Box box_of(const std::string& name, const Parameter& parameter, const Tensor& stored) {
  const auto dims = [](const Shape& shape) { return std::vector<int64_t>(shape.dims().begin(), shape.dims().end()); };
  return {.tensor = name, .shape = dims(parameter.global_shape), .offset = dims(parameter.slice_offset), .extent = dims(stored.shape())};
}

Snapshot take_snapshot(Trainer& trainer) {
  Snapshot snapshot;
  for (const Kept& kept : kept_tensors(trainer)) {
    Snapshot::Tensor tensor{.box = box_of(kept.name, *kept.parameter, kept.tensor), .dtype = kept.tensor.dtype(), .bytes = std::vector<std::byte>(kept.tensor.bytes())};
    download(trainer.ctx(), tensor.bytes.data(), kept.tensor);
    snapshot.tensors.push_back(std::move(tensor));
  }
  return snapshot;
}

void load_into(ExecContext& ctx, CheckpointFolder& folder, const std::string& name, const Parameter& parameter, const Tensor& tensor, Conversion conversion) {
  std::vector<std::byte> bytes(tensor.bytes());
  const BoxToLoad wanted{.box = box_of(name, parameter, tensor), .dtype = tensor.dtype(), .bytes = bytes};
  folder.load({&wanted, 1}, conversion);
  upload(ctx, tensor, bytes.data());
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
  std::filesystem::create_directories(path.parent_path());
  writer_.save(path.string(), std::move(snapshot), recipe_.checkpoint.keep_last);
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
  for (const Kept& kept : kept_tensors(trainer)) load_into(trainer.ctx(), folder, kept.name, *kept.parameter, kept.tensor, Conversion::none);
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
    const bool master = folder.has_tensor("master/" + parameter->name);
    const std::string best = (master ? "master/" : "weight/") + parameter->name;
    load_into(ctx, folder, best, *parameter, parameter->stored(parameter->flat->values), Conversion::floats);
    if (parameter->flat->master.defined()) load_into(ctx, folder, best, *parameter, parameter->stored(parameter->flat->master), Conversion::floats);
  }
}

}  // namespace nemo
