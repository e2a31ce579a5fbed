// A run saved under one layout goes on under another as if it had never stopped.
#include <catch2/catch.hpp>

#include <condition_variable>
#include <fstream>
#include <map>
#include <mutex>

#include "core/checkpoint/checkpoint_folder.h"
#include "core/checkpoint/retention.h"
#include "core/error.h"
#include "recipes/convert.h"
#include "recipes/run_checkpoint.h"
#include "tests/recipes/layouts.h"
#include "tests/temporary_folder.h"

namespace nemo::test {
namespace {

using enum DataParallelSharding;

// Notes between threads.
class Notes {
 public:
  CheckpointRanks of(const Rank& rank) {
    return {.rank = rank.rank,
            .size = rank.world_size,
            .tell =
                [this](const std::string& key, const std::string& text) {
                  const std::lock_guard lock(mutex_);
                  notes_.try_emplace(key, text);
                  changed_.notify_all();
                },
            .hear =
                [this](const std::string& key) {
                  std::unique_lock lock(mutex_);
                  if (!changed_.wait_for(lock, std::chrono::seconds(60), [&] { return notes_.contains(key); }))
                    throw CheckpointError{"notes", key, "was not told"};
                  return notes_.at(key);
                }};
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::string> notes_;
};

Layout layout(const std::string& name, int world_size, int64_t pp, int64_t vpp, DataParallelSharding sharding,
              int64_t instances = 1, std::vector<int64_t> layers = {}) {
  ParallelismConfig parallelism;
  parallelism.pipeline_model_parallel_size = pp;
  parallelism.virtual_pipeline_model_parallel_size = vpp;
  parallelism.data_parallel_sharding_strategy = sharding;
  parallelism.num_distributed_optimizer_instances = instances;
  parallelism.pipeline_model_parallel_layout = std::move(layers);
  return {name, world_size, parallelism};
}

Layout with_model_ranks(Layout layout, int64_t tp, int64_t cp) {
  layout.parallelism.tensor_model_parallel_size = tp;
  layout.parallelism.sequence_parallel = tp > 1;
  layout.parallelism.context_parallel_size = cp;
  return layout;
}

const std::map<std::string, Layout>& layouts() {
  static const auto kLayouts = [] {
    std::map<std::string, Layout> by_name;
    for (const Layout& each :
         {layout("one", 1, 1, 1, no_shard), layout("dp4", 4, 1, 1, no_shard), layout("dp2 optim", 2, 1, 1, optim),
          layout("dp4 optim_grads", 4, 1, 1, optim_grads), layout("dp4 fsdp", 4, 1, 1, optim_grads_params),
          layout("dp8 fsdp", 8, 1, 1, optim_grads_params),
          layout("dp4 fsdp in 2 instances", 4, 1, 1, optim_grads_params, 2), layout("pp2", 2, 2, 1, no_shard),
          layout("pp4 of 2 1 1 0", 4, 4, 1, no_shard, 1, {2, 1, 1, 0}), layout("pp2 in 2 chunks", 2, 2, 2, no_shard),
          layout("dp2 pp2 optim", 4, 2, 1, optim), layout("dp2 pp2 fsdp", 4, 2, 1, optim_grads_params),
          with_model_ranks(layout("tp2 dp2 optim", 4, 1, 1, optim), 2, 1),
          with_model_ranks(layout("tp2 pp2", 4, 2, 1, no_shard), 2, 1),
          with_model_ranks(layout("cp2 dp2 fsdp", 4, 1, 1, optim_grads_params), 1, 2),
          with_model_ranks(layout("tp2 cp2 pp2", 8, 2, 1, no_shard), 2, 2),
          with_model_ranks(layout("tp4 dp2 fsdp", 8, 1, 1, optim_grads_params), 4, 1)})
      by_name[each.name] = each;
    return by_name;
  }();
  return kLayouts;
}

Recipe recipe_saving_to(const TemporaryFolder& folder) {
  return parse_recipe("run: {name: layouts}\ntokenizer: {type: byte}\ndata: {mock: true}\nmodel: {family: gpt}\n",
                      "test.yaml",
                      std::vector<std::string>{"checkpoint.save=" + folder.path(), "run.results_dir=" + folder.path()},
                      RecipeFolders({}));
}

// Trains steps under a layout, from a checkpoint where one is given, and saves where a folder is.
std::vector<StepNumbers> run_part(const TinyModel& model, const Layout& layout, int64_t first, int64_t last,
                                  const std::string& from, const Recipe* save) {
  Notes notes;
  const RankBody load = [&](Rank&, MeshGroups&, Trainer& trainer) {
    if (from.empty()) return;
    const RunProgress progress = load_run(trainer, from);
    expect_equal(progress.step, first, "step of the checkpoint");
    expect_equal(progress.consumed_samples, first * kGlobalBatchSize, "samples of the checkpoint");
  };
  const RankBody store = [&](Rank& rank, MeshGroups&, Trainer& trainer) {
    if (save == nullptr) return;
    trainer.ranks().wait_for_values(trainer.ctx());
    RunCheckpoints checkpoints(*save, nullptr, notes.of(rank));
    checkpoints.save(trainer, {.step = last, .consumed_samples = last * kGlobalBatchSize});
    checkpoints.finish();
  };
  return train_under(model, layout, {.first = first, .last = last, .before = load, .after = store});
}

std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a run saved under one layout goes on under another", "[layouts][checkpoint]") {
  struct Pair {
    std::string from, to;
  };
  const std::vector<Pair> pairs = {{"one", "dp4 fsdp"},
                                   {"dp4 fsdp", "one"},
                                   {"dp4", "dp2 optim"},
                                   {"dp2 optim", "dp4"},
                                   {"dp4 optim_grads", "pp2"},
                                   {"pp2", "dp8 fsdp"},
                                   {"dp8 fsdp", "pp4 of 2 1 1 0"},
                                   {"pp4 of 2 1 1 0", "dp4 fsdp in 2 instances"},
                                   {"dp4 fsdp in 2 instances", "pp2 in 2 chunks"},
                                   {"pp2 in 2 chunks", "one"},
                                   {"one", "dp2 pp2 optim"},
                                   {"dp2 pp2 optim", "dp2 pp2 fsdp"},
                                   {"dp2 pp2 fsdp", "dp4 optim_grads"},
                                   {"dp4 fsdp", "dp4 fsdp"},
                                   {"pp2", "one"},
                                   {"tp2 dp2 optim", "dp4 fsdp"},
                                   {"dp4 fsdp", "tp2 pp2"},
                                   {"tp2 pp2", "cp2 dp2 fsdp"},
                                   {"cp2 dp2 fsdp", "tp4 dp2 fsdp"},
                                   {"tp4 dp2 fsdp", "tp2 cp2 pp2"},
                                   {"tp2 cp2 pp2", "one"},
                                   {"tp4 dp2 fsdp", "tp4 dp2 fsdp"}};
  const TinyModel model =
      GENERATE(TinyModel{.family = "gpt", .tied = true}, TinyModel{.family = "llama", .tied = false});
  const std::vector<StepNumbers> straight = train_under(model, layouts().at("one"), {.last = 6});
  const std::vector<StepNumbers> second_half(straight.begin() + 3, straight.end());
  for (const auto& [from, to] : pairs) {
    INFO(model.family + ": " + from + " -> " + to);
    const TemporaryFolder folder;
    const Recipe recipe = recipe_saving_to(folder);
    const std::string error = error_of([&] {
      run_part(model, layouts().at(from), 0, 3, "", &recipe);
      const std::string saved = (checkpoints_folder(recipe) / checkpoint_name(3)).string();
      CheckpointFolder(saved).verify();
      // Untied pipelines add in one rank's order.
      const bool same_order =
          !model.tied && (from == "one" || from.starts_with("pp")) && (to == "one" || to.starts_with("pp"));
      const bool same_layout = from == to;
      const std::vector<StepNumbers> numbers = run_part(model, layouts().at(to), 3, 6, saved, nullptr);
      expect_close(numbers, second_half, same_order ? 0 : 1e-5);
      if (!same_layout) return;
      const std::vector<StepNumbers> unbroken = train_under(model, layouts().at(to), {.last = 6});
      expect_close(numbers, {unbroken.begin() + 3, unbroken.end()}, 0);
    });
    CHECK(error == "");
  }
}

TEST_CASE("every element of a run is saved by one rank", "[layouts][checkpoint]") {
  const TinyModel model{.family = "gpt", .tied = true};
  for (const auto& [name, layout] : layouts()) {
    INFO(name);
    const TemporaryFolder folder;
    const Recipe recipe = recipe_saving_to(folder);
    run_part(model, layout, 0, 1, "", &recipe);
    const CheckpointFolder saved((checkpoints_folder(recipe) / checkpoint_name(1)).string());
    std::map<std::string, int64_t> elements, whole;
    std::map<std::string, int> files;
    for (const StoredBox& stored : saved.manifest().boxes) {
      elements[stored.box.tensor] += stored.box.num_elements();
      whole[stored.box.tensor] = whole_box("", stored.box.shape).num_elements();
      ++files[stored.file];
    }
    CHECK(elements == whole);
    CHECK(elements.size() == 3 * 68);  // weight and two moments of each parameter
    CHECK(static_cast<int>(files.size()) == layout.world_size);
  }
}

TEST_CASE("export reads a checkpoint of any layout", "[layouts][checkpoint]") {
  const TinyModel model =
      GENERATE(TinyModel{.family = "gpt", .tied = true}, TinyModel{.family = "llama", .tied = false});
  const auto exported = [&](const std::string& name) {
    const TemporaryFolder folder, out;
    const Recipe recipe = recipe_saving_to(folder);
    run_part(model, layouts().at(name), 0, 0, "", &recipe);  // the weights as drawn
    export_checkpoint((checkpoints_folder(recipe) / checkpoint_name(0)).string(), out / "hf", {}, RecipeFolders({}));
    std::ifstream file(out / "hf/model.safetensors", std::ios::binary);
    return std::string{std::istreambuf_iterator<char>(file), {}};
  };
  const std::string expected = exported("one");
  REQUIRE(expected.size() > 10'000);
  for (const char* name : {"dp4 fsdp", "pp4 of 2 1 1 0", "dp2 pp2 optim", "tp2 pp2", "tp4 dp2 fsdp"}) {
    INFO(name);
    CHECK(exported(name) == expected);
  }
}

TEST_CASE("a rank that cannot write fails the save of all", "[layouts][checkpoint]") {
  const TemporaryFolder folder;
  const Recipe recipe = recipe_saving_to(folder);
  Notes notes;
  const std::string path = (checkpoints_folder(recipe) / checkpoint_name(1)).string();
  std::mutex mutex;
  std::vector<std::string> errors;
  run_ranks(3, [&](Rank& rank) {
    Snapshot snapshot;
    // The second rank's region has fewer bytes than it says.
    snapshot.tensors.push_back(
        {.box = {.tensor = "weight/w", .shape = {3, 4}, .offset = {rank.rank, 0}, .extent = {1, 4}},
         .dtype = DType::fp32,
         .bytes = std::vector<std::byte>(rank.rank == 1 ? 8 : 16)});
    const std::string error = error_of([&] { save_checkpoint(path, snapshot, 0, notes.of(rank)); });
    const std::lock_guard lock(mutex);
    errors.push_back(error);
  });
  REQUIRE(errors.size() == 3);
  for (const std::string& error : errors) CHECK_THAT(error, Catch::Contains("weight/w") && Catch::Contains("8 bytes"));
  CHECK_FALSE(std::filesystem::exists(path));
  CHECK_FALSE(std::filesystem::exists(path + ".partial"));
}

}  // namespace nemo::test
