#include "recipes/mesh_checks.h"

#include <algorithm>
#include <string>

#include "core/error.h"
#include "parallel/mesh.h"
#include "parallel/pipeline/stage_layers.h"
#include "recipes/schema.h"

namespace nemo {
namespace {

std::string text(int64_t number) {
  return std::to_string(number);
}

// "use 1, 2 or 4": the sizes up to limit that fit.
template <class Fits>
std::string suggest_sizes(int64_t limit, Fits&& fits) {
  std::vector<int64_t> sizes;
  for (int64_t size = 1; size <= limit && sizes.size() < 8; ++size)
    if (fits(size)) sizes.push_back(size);
  std::string out = "use ";
  for (size_t i = 0; i < sizes.size(); ++i)
    out += (i == 0 ? "" : i + 1 == sizes.size() ? " or " : ", ") + text(sizes[i]);
  return out;
}

class MeshChecks {
 public:
  MeshChecks(const Recipe& recipe, int64_t world_size)
      : recipe_(recipe), model_(recipe.model), mesh_(recipe.parallelism), world_size_(world_size) {}

  void check() const {
    check_world();
    check_tensor();
    check_pipeline();
    check_context();
    check_experts();
    check_batch();
  }

 private:
  [[noreturn]] void fail(const std::string& key, const std::string& reason, const std::string& suggestion) const {
    throw RecipeError{recipe_.places.where(key), key, reason, suggestion};
  }

  void check_world() const {
    const auto misfit = find_misfit(mesh_, world_size_);
    if (misfit) fail(misfit->key, misfit->reason, misfit->suggestion);
  }

  void check_tensor() const {
    const std::string key = "parallelism.tensor_model_parallel_size";
    const int64_t tp = mesh_.tensor_model_parallel_size, heads = model_.num_attention_heads,
                  groups = model_.num_query_groups;
    const int64_t ffn = model_.ffn_hidden_size;
    const auto fits = [&](int64_t size) {
      return heads % size == 0 && ffn % size == 0 && (groups % size == 0 || size % groups == 0);
    };
    const std::string suggestion = suggest_sizes(heads, fits);
    if (heads % tp != 0) fail(key, text(tp) + " does not divide num_attention_heads (" + text(heads) + ")", suggestion);
    if (groups % tp != 0 && tp % groups != 0)
      fail(key, text(tp) + " neither divides num_query_groups (" + text(groups) + ") nor is a multiple of it",
           suggestion);
    if (ffn % tp != 0) fail(key, text(tp) + " does not divide ffn_hidden_size (" + text(ffn) + ")", suggestion);
  }

  void check_pipeline() const {
    const int64_t pp = mesh_.pipeline_model_parallel_size, chunks = mesh_.virtual_pipeline_model_parallel_size,
                  layers = model_.num_layers;
    const std::string schedule = "parallelism.pipeline_schedule";
    if (mesh_.pipeline_schedule == PipelineSchedule::zero_bubble) {
      if (pp == 1) fail(schedule, "zero_bubble needs more than one pipeline stage", "pipeline_model_parallel_size=2, or 1f1b here");
      if (chunks > 1) fail(schedule, "zero_bubble runs one chunk of layers on each stage", "virtual_pipeline_model_parallel_size=1, or 1f1b here");
      if (mesh_.data_parallel_sharding_strategy > DataParallelSharding::optim)
        fail(schedule, "zero_bubble keeps weight gradients for later, which data_parallel_sharding_strategy would shard after each micro batch",
             "data_parallel_sharding_strategy no_shard or optim, or 1f1b here");
    }
    if (!mesh_.pipeline_model_parallel_layout.empty()) {
      try {
        layers_of_stages(layers, pp, chunks, mesh_.pipeline_model_parallel_layout);
      } catch (const PlanError& error) {
        const std::string layout = "parallelism.pipeline_model_parallel_layout";
        throw RecipeError{recipe_.places.where(layout), layout, error.what()};
      }
      return;
    }
    if (layers % pp != 0)
      fail("parallelism.pipeline_model_parallel_size", text(pp) + " does not divide num_layers (" + text(layers) + ")",
           suggest_sizes(layers, [&](int64_t size) { return layers % size == 0; }));
    const std::string key = "parallelism.virtual_pipeline_model_parallel_size";
    if (chunks > 1 && pp == 1)
      fail(key, "interleaving needs more than one pipeline stage", "pipeline_model_parallel_size=2, or 1 here");
    if (layers / pp % chunks != 0)
      fail(key, text(chunks) + " does not divide the " + text(layers / pp) + " layers of a stage",
           suggest_sizes(layers / pp, [&](int64_t size) { return layers / pp % size == 0; }));
  }

  void check_context() const {
    const int64_t cp = mesh_.context_parallel_size, tp = mesh_.tensor_model_parallel_size, length = model_.seq_length;
    if (cp > 1 && length % (2 * cp) != 0)
      fail("model.seq_length", text(length) + " is not a multiple of 2 x context_parallel_size (" + text(2 * cp) + ")",
           "use " + text((length / (2 * cp) + 1) * 2 * cp));
    if (mesh_.sequence_parallel && length / cp % tp != 0)
      fail("model.seq_length",
           text(length / cp) + " tokens of a rank are not a multiple of tensor_model_parallel_size (" + text(tp) + ")",
           "use " + text((length / (cp * tp) + 1) * cp * tp) + ", or sequence_parallel=false");
    if (cp > 1 && mesh_.cp_comm_type == ContextParallelComm::p2p && model_.window_size > 0)
      fail("parallelism.cp_comm_type",
           "p2p passes whole chunks on, whatever window_size (" + text(model_.window_size) + ") leaves of them",
           "all_gather or a2a");
    if (cp > 1 && mesh_.cp_comm_type == ContextParallelComm::a2a) {
      const int64_t heads = model_.num_attention_heads / tp,
                    groups = std::max<int64_t>(1, model_.num_query_groups / tp);
      if (heads % cp != 0 || groups % cp != 0)
        fail("parallelism.cp_comm_type",
             "a2a needs the heads (" + text(heads) + ") and query groups (" + text(groups) +
                 ") of a tensor rank to be multiples of context_parallel_size (" + text(cp) + ")",
             "p2p or all_gather");
    }
  }

  void check_experts() const {
    const int64_t ep = mesh_.expert_model_parallel_size, etp = mesh_.expert_tensor_parallel_size;
    if (ep > 1) fail("parallelism.expert_model_parallel_size", "the model has no experts", "use 1");
    if (etp > 1) fail("parallelism.expert_tensor_parallel_size", "the model has no experts", "use 1");
  }

  void check_batch() const {
    const int64_t dp = MeshSizes(mesh_, world_size_)[Axis::data];
    const int64_t micro = recipe_.data.micro_batch_size, global = recipe_.data.global_batch_size, unit = micro * dp;
    if (global % unit != 0) {
      const int64_t below = global / unit * unit;
      fail("data.global_batch_size",
           text(global) + " is not a multiple of micro_batch_size x data-parallel size (" + text(micro) + " x " +
               text(dp) + ")",
           "use " + (below > 0 ? text(below) + " or " : std::string()) + text(below + unit));
    }
    const int64_t stages = mesh_.pipeline_model_parallel_size, accumulation = global / unit;
    if (mesh_.virtual_pipeline_model_parallel_size > 1 && accumulation % stages != 0)
      fail("data.global_batch_size",
           text(accumulation) + " micro batches are not a multiple of pipeline_model_parallel_size (" + text(stages) +
               "), as interleaving needs",
           "use " + text((accumulation / stages + 1) * stages * unit));
  }

  const Recipe& recipe_;
  const DecoderConfig& model_;
  const ParallelismConfig& mesh_;
  int64_t world_size_;
};

}  // namespace

void check_mesh(const Recipe& recipe, int64_t world_size) {
  MeshChecks(recipe, world_size).check();
}

}  // namespace nemo
