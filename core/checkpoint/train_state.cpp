#include "core/checkpoint/train_state.h"

#include <bit>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace nemo {

using nlohmann::json;

std::string to_text(const TrainState& state) {
  // JSON has no infinities: each number stands beside its bits, and the bits are what is read.
  json scheduler = json::object();
  for (const auto& [name, value] : state.scheduler)
    scheduler[name] = {{"value", value}, {"bits", std::bit_cast<uint64_t>(value)}};
  const json value = {{"step", state.step},
                      {"consumed_samples", state.consumed_samples},
                      {"skipped_steps", state.skipped_steps},
                      {"seed", state.seed},
                      {"scheduler", scheduler},
                      {"versions", state.versions},
                      {"extra", state.extra}};
  return value.dump(1) + "\n";
}

TrainState train_state_from_text(const std::string& text, const std::string& place) {
  try {
    const json value = json::parse(text);
    TrainState state;
    state.step = value.at("step");
    state.consumed_samples = value.at("consumed_samples");
    state.skipped_steps = value.at("skipped_steps");
    state.seed = value.at("seed");
    for (const auto& [name, number] : value.at("scheduler").items())
      state.scheduler[name] = std::bit_cast<double>(number.at("bits").get<uint64_t>());
    state.versions = value.at("versions").get<std::map<std::string, std::string>>();
    state.extra = value.at("extra").get<std::map<std::string, std::string>>();
    return state;
  } catch (const json::exception& error) {
    throw CheckpointError{place, "", std::string("is damaged (") + error.what() + ")"};
  }
}

}  // namespace nemo
