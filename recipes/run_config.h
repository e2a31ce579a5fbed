// The recipe's `run`, `trainer`, `checkpoint` and `logger` sections: how long to train, what to save and what to show.
// Not here: the sections that the other rooms own (recipes/schema.h joins them).
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/config/field.h"

namespace nemo {

enum class Precision : uint8_t { bf16_mixed, bf16, fp32, fp8_mixed };

std::span<const std::string_view> enum_names(Precision);

struct RunConfig {
  std::string name;  // empty: the recipe file's name
  std::string results_dir = "runs";
  int64_t seed = 1234;
  Seconds time_limit;      // 0: none
  std::string dependency;  // of the cluster job

  template <class Visit>
  void fields(Visit&& visit) {
    visit("name", name, "the run's folder in results_dir; null: the recipe's name", Optional{});
    visit("results_dir", results_dir, "where runs are kept");
    visit("seed", seed, "of initial weights, data order and dropout", Between{0, 4294967295.0});
    visit("time_limit", time_limit, "wall time asked of the cluster", Optional{});
    visit("dependency", dependency, "cluster job to wait for", Optional{});
  }
};

struct TrainerConfig {
  int64_t max_steps = 1000;
  Seconds max_time;  // 0: none
  Precision precision = Precision::bf16_mixed;
  bool first_last_layers_bf16 = false;
  int64_t num_layers_at_start_in_bf16 = 1, num_layers_at_end_in_bf16 = 1;
  bool deterministic = false;
  bool cuda_graph = true;
  double gradient_clip_val = 1.0;
  int64_t log_every_n_steps = 1;
  int64_t val_check_interval = 0;
  int64_t limit_val_batches = 10;

  template <class Visit>
  void fields(Visit&& visit) {
    visit("max_steps", max_steps, "optimizer steps of the whole run", Positive{}, AtMost{1e12}, Alias{"train_iters"});
    visit("max_time", max_time, "save and stop after this time: [DD:]HH:MM:SS or seconds", Optional{});
    visit("precision", precision,
          "bf16-mixed: bf16 arithmetic, fp32 master weights; bf16: no master weights, updates rounded stochastically "
          "into bf16; fp32; fp8-mixed: bf16-mixed with the layers' matrix products "
          "in fp8");
    visit("first_last_layers_bf16", first_last_layers_bf16, "fp8-mixed: keep the products of the outermost layers in bf16");
    visit("num_layers_at_start_in_bf16", num_layers_at_start_in_bf16, "first_last_layers_bf16: how many of the first layers", AtLeast{0});
    visit("num_layers_at_end_in_bf16", num_layers_at_end_in_bf16, "first_last_layers_bf16: how many of the last layers", AtLeast{0});
    visit("deterministic", deterministic, "only operations whose results do not vary from run to run");
    visit("cuda_graph", cuda_graph,
          "on a GPU, record a training step as CUDA graphs and replay them; batches cut at documents run kernel by kernel");
    visit("gradient_clip_val", gradient_clip_val, "longest gradient over all parameters; 0: no clipping", AtLeast{0},
          Alias{"clip_grad"});
    visit("log_every_n_steps", log_every_n_steps, "steps from one progress line to the next", Positive{});
    visit("val_check_interval", val_check_interval, "steps from one validation to the next; null: none", AtLeast{0},
          Optional{}, Alias{"eval_interval"});
    visit("limit_val_batches", limit_val_batches, "global batches of one validation", Positive{}, Alias{"eval_iters"});
  }
};

struct CheckpointConfig {
  std::string save;  // empty: <results_dir>/<name>/checkpoints; "none": nothing is saved
  std::string load;
  std::string pretrained_checkpoint;
  int64_t save_interval = 0;
  int64_t save_top_k = 0;
  int64_t keep_last = 2;
  bool async_save = true;
  bool resume_if_exists = false;
  bool also_save_hf = false;

  template <class Visit>
  void fields(Visit&& visit) {
    visit("save", save, "folder of checkpoints; null: checkpoints in the run's folder; none: save nothing", Optional{});
    visit("load", load, "checkpoint to go on from, optimizer and data position included", Optional{},
          Alias{"restore_from_path"});
    visit("pretrained_checkpoint", pretrained_checkpoint, "checkpoint whose weights a new run starts from", Optional{});
    visit("save_interval", save_interval, "steps from one save to the next; null: only when the run ends or is stopped",
          AtLeast{0}, Optional{});
    visit("save_top_k", save_top_k, "keep this many of lowest validation loss besides", AtLeast{0});
    visit("keep_last", keep_last, "keep this many of the newest; 0: all", AtLeast{0});
    visit("async_save", async_save, "write in the background");
    visit("resume_if_exists", resume_if_exists, "go on from the run's own newest checkpoint where there is one");
    visit("also_save_hf", also_save_hf, "write a Hugging Face folder beside the last checkpoint");
  }
};

struct LoggerConfig {
  bool jsonl = true, tensorboard = false, report = false;

  template <class Visit>
  void fields(Visit&& visit) {
    visit("jsonl", jsonl, "metrics.jsonl in the run's folder, one object a step");
    visit("tensorboard", tensorboard, "TensorBoard events in the run's folder");
    visit("report", report, "an HTML report in the run's folder");
  }
};

}  // namespace nemo
