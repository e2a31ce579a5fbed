#include "recipes/verify.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "core/checkpoint/convert_dtype.h"
#include "core/error.h"
#include "core/ops/copy.h"
#include "models/hugging_face.h"
#include "recipes/batch_layout.h"
#include "recipes/generate.h"
#include "recipes/hf_weights.h"
#include "recipes/trainer.h"

namespace nemo {
namespace {

using Values = std::vector<float>;

// What the recorded trajectories were made with.
constexpr int kTrajectorySteps = 8;
OptimizerConfig trajectory_optimizer() {
  OptimizerConfig optim;
  optim.lr = 1e-3;
  optim.betas = {0.9, 0.95};
  optim.eps = 1e-8;
  optim.weight_decay = 0.1;
  optim.decay_norms_and_biases = true;
  optim.sched.name = ScheduleName::constant;
  optim.sched.warmup_steps = kTrajectorySteps;  // lr grows by an eighth of 1e-3 each step
  return optim;
}

struct Reference {
  explicit Reference(const std::string& path) : set(path) {}

  std::vector<int64_t> integers(const std::string& name) const {
    const SafetensorsEntry* entry = set.find(name);
    if (entry == nullptr) throw CheckpointError{set.path(), name, "is missing"};
    const std::span<const std::byte> bytes = set.bytes(name);
    std::vector<int64_t> values;
    if (entry->dtype == DType::int64) {
      values.resize(bytes.size() / 8);
      std::memcpy(values.data(), bytes.data(), bytes.size());
    } else if (entry->dtype == DType::int32) {
      std::vector<int32_t> narrow(bytes.size() / 4);
      std::memcpy(narrow.data(), bytes.data(), bytes.size());
      values.assign(narrow.begin(), narrow.end());
    } else {
      throw CheckpointError{set.path(), name, "holds " + std::string(nemo::name(entry->dtype)) + ", expected integers"};
    }
    return values;
  }

  Values floats(const std::string& name) const {
    const SafetensorsEntry* entry = set.find(name);
    if (entry->dtype == DType::int64 || entry->dtype == DType::int32) {
      const std::vector<int64_t> ids = integers(name);
      return Values(ids.begin(), ids.end());
    }
    Values values(set.bytes(name).size() / size_bytes(entry->dtype));
    convert_dtype(set.bytes(name), entry->dtype, std::as_writable_bytes(std::span(values)), DType::fp32);
    return values;
  }

  std::vector<int64_t> matrix_shape(const std::string& name) const {
    const SafetensorsEntry* entry = set.find(name);
    if (entry == nullptr || entry->shape.size() != 2) throw CheckpointError{set.path(), name, "is missing or not a [batch, sequence] matrix"};
    return entry->shape;
  }

  SafetensorsSet set;
};

// Labels as the reference gives them stand for the token itself; ours for the next one.
MicroBatch read_batch(const Reference& reference) {
  const std::vector<int64_t> shape = reference.matrix_shape("in.input_ids"), ids = reference.integers("in.input_ids");
  const bool labelled = reference.set.find("in.labels") != nullptr;
  const std::vector<int64_t> labels = labelled ? reference.integers("in.labels") : std::vector<int64_t>();
  if (labelled && labels.size() != ids.size()) throw CheckpointError{reference.set.path(), "in.labels", "has another size than in.input_ids"};
  MicroBatch batch{.micro_batch_size = shape[0], .seq_length = shape[1], .tokens = {ids.begin(), ids.end()}, .labels = {}, .positions = {}, .segment_offsets = {0}, .sample_numbers = {}};
  for (int64_t b = 0; b < shape[0]; ++b) {
    for (int64_t t = 0; t < shape[1]; ++t) {
      const bool counted = labelled && t + 1 < shape[1];
      batch.labels.push_back(counted ? static_cast<int32_t>(labels[static_cast<size_t>(b * shape[1] + t + 1)]) : kIgnoredLabel);
      batch.positions.push_back(static_cast<int32_t>(t));
      batch.num_loss_tokens += batch.labels.back() != kIgnoredLabel;
    }
    batch.segment_offsets.push_back(static_cast<int32_t>((b + 1) * shape[1]));
    batch.sample_numbers.push_back(b);
  }
  return batch;
}

// The model of a folder in a trainer of its own: each part of the proof starts from the files' weights.
class Subject {
 public:
  Subject(const VerifyOptions& options, const HfConfig& config) : runtime_(options.device), trainer_(runtime_, trainer_options(options, config)) {
    trainer_.ctx().set_training(false);
    import_weights(trainer_.ctx(), trainer_.store(), config.decoder, SafetensorsSet(options.folder));
  }
  Trainer* operator->() { return &trainer_; }

 private:
  static TrainerOptions trainer_options(const VerifyOptions& options, const HfConfig& config) {
    return {.model = config.decoder, .padded_vocab_size = (config.decoder.vocab_size + 127) / 128 * 128, .precision = options.precision, .optim = trajectory_optimizer(),
            .gradient_clip_val = 1.0, .max_steps = kTrajectorySteps};
  }
  Runtime runtime_;
  Trainer trainer_;
};

Values run_logits(Subject& subject, const MicroBatch& batch) {
  ExecContext& ctx = subject->ctx();
  TokenLayout tokens = place(ctx, batch);
  tokens.labels = Tensor();
  const Tensor logits = subject->model().forward(ctx, tokens).output, dense = ctx.empty(logits.shape(), logits.dtype());
  copy_rows(ctx, dense, logits);
  return read_fp32(ctx, dense);
}

// grad.<their name> of every parameter, and out.loss.
void run_gradients(Subject& subject, const MicroBatch& batch, const HfConfig& config, std::map<std::string, Values>& ours) {
  const StepReport report = subject->accumulate_gradients({&batch, 1});
  ours["out.loss"] = {static_cast<float>(report.loss)};
  const std::vector<Parameter*> parameters = subject->store().parameters();
  for (const TheirTensor& theirs : map_names(hf_name_table(config.decoder), named_shapes(subject->store()), Dialect::module))
    ours["grad." + theirs.name] = gather_theirs(theirs, [&](size_t i) { return subject->store().read_gradient(subject->ctx(), *parameters[i]); });
}

void run_trajectory(Subject& subject, const MicroBatch& batch, std::map<std::string, Values>& ours) {
  for (int64_t step = 1; step <= kTrajectorySteps; ++step) {
    const StepReport report = subject->step(step, {&batch, 1}).get();
    ours["traj.loss"].push_back(static_cast<float>(report.loss));
    ours["traj.grad_norm"].push_back(static_cast<float>(report.grad_norm));
  }
}

// out.greedy and out.beam<N>: ids [batch, length], the prompt included, filled up with the padding id.
Values run_generation(Subject& subject, const Reference& reference, const HfConfig& config, const std::string& name, int64_t num_beams) {
  const std::vector<int64_t> shape = reference.matrix_shape(name), prompt_shape = reference.matrix_shape("in.input_ids"), ids = reference.integers("in.input_ids");
  std::vector<std::vector<int32_t>> prompts;
  for (int64_t b = 0; b < prompt_shape[0]; ++b) prompts.emplace_back(ids.begin() + b * prompt_shape[1], ids.begin() + (b + 1) * prompt_shape[1]);
  GenerateOptions options{.max_new_tokens = shape[1] - prompt_shape[1], .num_beams = num_beams};
  for (const int64_t eos : config.eos_token_ids) options.eos_ids.push_back(static_cast<int32_t>(eos));
  Values values;
  for (std::vector<int32_t> sequence : generate(subject->ctx(), subject->model(), prompts, options)) {
    sequence.resize(static_cast<size_t>(shape[1]), padding_id(config.pad_token_id, options.eos_ids, num_beams));
    values.insert(values.end(), sequence.begin(), sequence.end());
  }
  return values;
}

std::optional<int64_t> beams_of(const std::string& name) {
  if (name == "out.greedy") return 1;
  if (!name.starts_with("out.beam") || name.size() > 10 || name.size() < 9 || name.find_first_not_of("0123456789", 8) != std::string::npos) return std::nullopt;
  return std::stoll(name.substr(8));
}

double norm(const Values& values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * value;
  return std::sqrt(sum);
}

double relative_error(const Values& ours, const Values& reference, double floor) {
  if (ours.size() != reference.size()) return std::numeric_limits<double>::infinity();
  double sum = 0;
  for (size_t i = 0; i < ours.size(); ++i) sum += std::pow(static_cast<double>(ours[i]) - reference[i], 2);
  const double scale = std::max(norm(reference), floor), error = scale > 0 ? std::sqrt(sum) / scale : std::sqrt(sum);
  return std::isfinite(error) ? error : std::numeric_limits<double>::infinity();
}

void write_dump(const std::string& path, const Reference& reference, const std::map<std::string, Values>& ours) {
  std::vector<SafetensorsEntry> entries;
  for (const auto& [name, values] : ours) {
    const SafetensorsEntry* like = reference.set.find(name);
    if (like == nullptr) continue;
    std::vector<int64_t> shape = like->shape;
    if (num_elements(shape) != static_cast<int64_t>(values.size())) shape = {static_cast<int64_t>(values.size())};
    entries.push_back({.name = name, .dtype = DType::fp32, .shape = shape});
  }
  SafetensorsWriter writer(path, std::move(entries));
  for (const SafetensorsEntry& entry : writer.entries()) writer.append(entry.name, std::as_bytes(std::span(ours.at(entry.name))));
  writer.finish();
}

}  // namespace

Tolerances tolerances(Precision precision) { return precision == Precision::fp32 ? Tolerances{1e-5, 1e-4} : Tolerances{2e-2, 5e-2}; }

VerifyReport verify(const VerifyOptions& options) {
  const HfConfig config = read_hf_config(options.folder);
  const Reference reference(options.reference);
  std::vector<std::string> wanted;
  for (const std::string& name : reference.set.names())
    if (!name.starts_with("in.")) wanted.push_back(name);
  const auto wants = [&](std::string_view prefix) { return std::ranges::any_of(wanted, [&](const std::string& name) { return name.starts_with(prefix); }); };
  const MicroBatch batch = read_batch(reference);

  std::map<std::string, Values> ours;
  VerifyReport report;
  for (const std::string& name : reference.set.names())
    if (name.starts_with("in.") && name != "in.input_ids" && name != "in.labels") report.not_compared.push_back(name);  // an argument we would ignore
  if (wants("out.logits")) {
    Subject subject(options, config);
    ours["out.logits"] = run_logits(subject, batch);
  }
  if (wants("grad.") || wants("out.loss")) {
    Subject subject(options, config);
    run_gradients(subject, batch, config, ours);
  }
  if (wants("traj.")) {
    Subject subject(options, config);
    run_trajectory(subject, batch, ours);
  }
  for (const std::string& name : wanted)
    if (const std::optional<int64_t> beams = beams_of(name)) {
      Subject subject(options, config);
      ours[name] = run_generation(subject, reference, config, name, *beams);
    }

  double gradient_square_sum = 0;
  for (const std::string& name : wanted)
    if (name.starts_with("grad.")) gradient_square_sum += std::pow(norm(reference.floats(name)), 2);
  const Tolerances limits = tolerances(options.precision);
  double worst_share = -1;
  for (const std::string& name : wanted) {
    const auto it = ours.find(name);
    if (it == ours.end()) {
      report.not_compared.push_back(name);
      continue;
    }
    const bool gradient = name.starts_with("grad.");
    const double error = relative_error(it->second, reference.floats(name), gradient ? 1e-4 * std::sqrt(gradient_square_sum) : 0);
    const double limit = beams_of(name) ? 0 : gradient || name.starts_with("traj.") ? limits.gradients : limits.outputs;  // ids are equal or wrong
    report.errors[name] = error;
    report.limits[name] = limit;
    const double share = limit > 0 ? error / limit : error > 0 ? std::numeric_limits<double>::infinity() : 0;
    if (share <= worst_share) continue;
    worst_share = share;
    report.worst_name = name;
    report.worst_error = error;
  }
  report.passed = !report.errors.empty() && worst_share <= 1 && report.not_compared.empty();
  if (!options.dump.empty()) write_dump(options.dump, reference, ours);
  return report;
}

}  // namespace nemo
