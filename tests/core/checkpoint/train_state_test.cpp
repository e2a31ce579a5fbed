#include "core/checkpoint/train_state.h"

#include <catch2/catch.hpp>
#include <limits>

#include "core/error.h"
#include "tests/core/checkpoint/checkpoint_files.h"

using namespace nemo;

TEST_CASE("The state of a run is read as written, to the bit", "[checkpoint][state]") {
  const TrainState state{
      .step = 100,
      .consumed_samples = int64_t{1} << 60,
      .skipped_steps = 2,
      .seed = std::numeric_limits<uint64_t>::max(),
      .scheduler = {{"lr", 0.1 + 0.2}, {"best_loss", std::numeric_limits<double>::infinity()}, {"tiny", 5e-324}},
      .versions = {{"nemo", "0.1.0"}},
      .extra = {{"note", "a\"b\n"}}};
  CHECK(train_state_from_text(to_text(state), "state.json") == state);
}

TEST_CASE("A damaged state is refused", "[checkpoint][state]") {
  CHECK(test::error_of<CheckpointError>([] {
          train_state_from_text("{}", "x/state.json");
        }).starts_with("x/state.json: is damaged ("));
  CHECK(test::error_of<CheckpointError>([] {
          train_state_from_text("", "x/state.json");
        }).starts_with("x/state.json: is damaged ("));
}
