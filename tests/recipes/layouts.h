// Tiny models trained under a layout of ranks, each rank a thread: what the matrix of layouts and checkpoints between
// layouts are tested with. Not here: the rows.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "recipes/trainer.h"
#include "tests/parallel/ranks.h"

namespace nemo::test {

struct Layout {
  std::string name;
  int world_size = 1;
  ParallelismConfig parallelism = {};
  int64_t micro_batch_size = 1;
  bool overlap = true;
};

struct TinyModel {
  std::string family = "llama";
  bool tied = false;
  int64_t num_layers = 4;
  int64_t num_query_groups = 0;  // 0: as many as heads in a gpt, else half
};

struct StepNumbers {
  double loss = 0, grad_norm = 0;
  bool operator==(const StepNumbers&) const = default;
};

inline constexpr int64_t kGlobalBatchSize = 8;

TrainerOptions tiny_options(const TinyModel& model, const Layout& layout);

// The first micro-batches of a run on one rank.
std::vector<MicroBatch> tiny_batches(int64_t micro_batch_size, int64_t count);

// Steps first + 1 to last of a training run, as every rank reports them alike. before: after the weights were drawn;
// after: the last step. Throws what a rank throws, and where two ranks report different numbers.
using RankBody = std::function<void(Rank&, MeshGroups&, Trainer&)>;
struct TrainedSteps {
  int64_t first = 0, last = 0;
  RankBody before = {}, after = {};
};
std::vector<StepNumbers> train_under(const TinyModel& model, const Layout& layout, const TrainedSteps& steps);

// Throws unless the numbers agree within `relative`; 0: to the bit.
void expect_close(const std::vector<StepNumbers>& actual, const std::vector<StepNumbers>& expected, double relative);

}  // namespace nemo::test
