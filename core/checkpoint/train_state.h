// Where a run stands, beside its tensors: state.json of a checkpoint. Not here: weights and optimizer moments
// (tensors).
#pragma once
#include <cstdint>
#include <map>
#include <string>

namespace nemo {

struct TrainState {
  int64_t step = 0;              // optimizer steps done
  int64_t consumed_samples = 0;  // the data order goes on from here
  int64_t skipped_steps = 0;     // steps whose update was dropped for a NaN or Inf
  uint64_t seed = 0;
  std::map<std::string, double> scheduler;      // by the scheduler's own names; kept to the bit
  std::map<std::string, std::string> versions;  // of nemo and its libraries, for a person
  std::map<std::string, std::string> extra;     // whatever a kind of run adds

  bool operator==(const TrainState&) const = default;
};

std::string to_text(const TrainState& state);
TrainState train_state_from_text(const std::string& text, const std::string& place);  // CheckpointError when damaged

}  // namespace nemo
